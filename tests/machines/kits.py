"""The kits that the machines install: this version, and a next one with nothing but another number."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from whycam import __version__

ROOT = Path(__file__).parents[2]
SOURCES = ("runtime", "deploy", "LICENSE", "README.md", "pyproject.toml", "requirements.lock")
NEXT_VERSION = f"{__version__}.post1"


def kit(platform: str, cache: Path, version: str = __version__) -> Path:
    """The unpacked kit of `platform`, of whycam as it is now, as `version`; made where `cache` does not hold it yet."""
    folder = cache / f"kit-{platform}-{version}-{key()}"
    if folder.exists():
        return folder
    for old in cache.glob(f"kit-{platform}-{version}-*"):
        shutil.rmtree(old)
    draft = cache / f"draft-{platform}-{version}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    sources = ROOT if version == __version__ else _renumbered(draft / "sources", version)
    environment = dict(os.environ)
    if sources is not ROOT:
        environment["PYTHONPATH"] = f"{sources / 'runtime'}:{sources}"
    done = subprocess.run(
        [sys.executable, "-m", "deploy.kit", platform, "-o", draft],
        cwd=sources,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"no kit for {platform}: {done.stderr.strip()[-1000:]}")
    (archive,) = draft.glob(f"whycam-{version}-{platform}.tar.gz")
    subprocess.run(["tar", "-C", draft, "-xzf", archive], check=True)
    (draft / archive.name.removesuffix(".tar.gz")).rename(folder)
    shutil.rmtree(draft)
    return folder


def broken(good: Path, folder: Path) -> Path:
    """A copy of the kit `good` whose service does not come up."""
    shutil.copytree(good, folder)
    unit = folder / "system" / "whycam.service"
    text, found = re.subn(r"(?m)^ExecStart=.*$", "ExecStart=/bin/false", unit.read_text())
    assert found == 1
    unit.write_text(text)
    sums = folder / "SHA256SUMS"
    digest = hashlib.sha256(unit.read_bytes()).hexdigest()
    text, found = re.subn(r"(?m)^\S+(?=  system/whycam\.service$)", digest, sums.read_text())
    assert found == 1
    sums.write_text(text)
    return folder


def key() -> str:
    """What a kit is made from: the sources of the runtime and of the kit."""
    digest = hashlib.sha256()
    for path in source_files():
        digest.update(f"{path}\0".encode() + (ROOT / path).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def source_files() -> list[Path]:
    """What a kit is made from, relative to the repository."""
    found = []
    for name in SOURCES:
        path = ROOT / name
        files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
        found += [one.relative_to(ROOT) for one in files]
    return sorted(one for one in found if "__pycache__" not in one.parts and not one.match("*.egg-info/*"))


def _renumbered(folder: Path, version: str) -> Path:
    """A copy of the sources with another version, as a later commit would have."""
    for path in source_files():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target)
    for name in ("pyproject.toml", "whycam/__init__.py"):
        path = folder / "runtime" / name
        text, found = re.subn(r'(?m)^(version|__version__) = ".*"$', rf'\1 = "{version}"', path.read_text())
        assert found == 1, name
        path.write_text(text)
    (folder / ".uv").symlink_to(ROOT / ".uv")
    return folder
