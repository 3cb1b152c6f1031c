"""The pinned versions: complete, hashed, and free of addresses."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OWN = {"whycam", "whycam-export", "whycam-calibration"}


@pytest.fixture(scope="module")
def lock(repository: Path) -> str:
    return "\n".join(
        (repository / name).read_text(encoding="utf-8").strip()
        for name in ("requirements.lock", "bench/requirements.lock")
    )


def test_the_lock_pins_each_direct_dependency(repository: Path, lock: str) -> None:
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, flags=re.MULTILINE))

    assert direct_dependencies(repository) - OWN <= pinned


def test_the_lock_pins_what_builds_the_distributions_and_what_installs_them(lock: str) -> None:
    assert {"hatchling", "uv"} <= set(re.findall(r"^([a-z0-9-]+)==", lock, flags=re.MULTILINE))


def test_each_pinned_version_has_its_hashes(lock: str) -> None:
    entries = re.split(r"\n(?=\S)", lock.strip())

    assert [entry for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", entry)] == []


def test_the_lock_holds_no_address(lock: str) -> None:
    assert "://" not in lock


def direct_dependencies(repository: Path) -> set[str]:
    root = parse(repository / "pyproject.toml")
    lines = [line for group in root["dependency-groups"].values() for line in group if isinstance(line, str)]
    for distribution in ("runtime", "export", "calibration"):
        project = parse(repository / distribution / "pyproject.toml")["project"]
        lines += project["dependencies"] + project["optional-dependencies"]["cpu"]
    return {re.split(r"[\[<>=~! ;]", line)[0] for line in lines}


def parse(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))
