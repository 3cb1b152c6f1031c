"""The unit's walls: what systemd thinks of them, and that the page on them says the same."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ANALYZE = shutil.which("systemd-analyze")
PAGE = Path("docs") / "explanation" / "hardening.md"
UNIT = Path("deploy") / "whycam.service"

pytestmark = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed: apt-get install systemd")


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def security(unit: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return analyze("security", "--offline=true", *arguments, unit)


def test_the_units_exposure_is_at_most_two(repository: Path) -> None:
    done = security(repository / UNIT, "--threshold=20")

    assert done.returncode == 0, done.stdout


def test_the_threshold_would_tell(repository: Path, tmp_path: Path) -> None:
    weak = tmp_path / "whycam.service"
    weak.write_text(re.sub(r"^SystemCallFilter=.*\n", "", (repository / UNIT).read_text(), flags=re.MULTILINE))

    assert security(weak, "--threshold=20").returncode != 0


def test_the_page_tells_each_point_that_is_left(repository: Path) -> None:
    done = analyze("--version")
    if not done.stdout.startswith("systemd 252 "):
        pytest.skip(f"the page tells the points of systemd 252, and here is {done.stdout.splitlines()[0]}")
    points = json.loads(security(repository / UNIT, "--json=short").stdout)

    assert told(repository) == {point["name"]: point["exposure"] for point in points if point["exposure"] is not None}


def test_the_page_tells_the_exposure(repository: Path) -> None:
    done = analyze("--version")
    if not done.stdout.startswith("systemd 252 "):
        pytest.skip(f"the page tells the exposure with systemd 252, and here is {done.stdout.splitlines()[0]}")
    (exposure,) = re.findall(r"Overall exposure level for whycam.service: (\S+)", security(repository / UNIT).stdout)

    assert f"says {exposure} (of 10" in (repository / PAGE).read_text()


def test_systemd_accepts_the_unit_with_the_drop_in_for_jetson(repository: Path, tmp_path: Path) -> None:
    text = (repository / UNIT).read_text()
    unit = tmp_path / "whycam.service"
    # With a program that is here in place of the one that a device has.
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    (tmp_path / "whycam.service.d").mkdir()
    shutil.copy(repository / "deploy" / "jetson.conf", tmp_path / "whycam.service.d")

    done = analyze("verify", "--man=no", unit)
    weaker = security(unit, "--json=short")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    left = {point["name"] for point in json.loads(weaker.stdout) if point["exposure"] is not None}
    assert left - set(told(repository)) == {"MemoryDenyWriteExecute=", "PrivateTmp="}


def told(repository: Path) -> dict[str, str]:
    """The points of the page's table, with their exposure."""
    rows = re.findall(r"^\| `(\S+)` \| (\d\.\d) \| ", (repository / PAGE).read_text(), flags=re.MULTILINE)
    return {name.replace("\\|", "|"): exposure for name, exposure in rows}
