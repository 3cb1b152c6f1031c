"""The systemd unit: systemd reads it without a complaint, and it says what the documents promise."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.walls import directives

VERIFY = shutil.which("systemd-analyze")
UNIT = Path("deploy") / "whycam.service"


def verify(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """What systemd says of the unit, with a program that is here in place of the one that a device has."""
    unit = folder / "whycam.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    assert VERIFY is not None
    return subprocess.run([VERIFY, "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(VERIFY is None, reason="systemd-analyze is not installed: apt-get install systemd")
def test_systemd_accepts_the_unit(repository: Path, tmp_path: Path) -> None:
    done = verify(tmp_path, (repository / UNIT).read_text())

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(VERIFY is None, reason="systemd-analyze is not installed: apt-get install systemd")
def test_systemd_would_complain_of_a_wrong_line(repository: Path, tmp_path: Path) -> None:
    done = verify(tmp_path, (repository / UNIT).read_text().replace("WatchdogSec=30", "WatchdogSecs=soon"))

    assert "WatchdogSecs" in done.stderr


def test_the_unit_keeps_what_it_promises(repository: Path) -> None:
    # What is given once; the system-call filter has several lines.
    service = {name: values[0] for name, values in directives(repository / UNIT).items() if len(values) == 1}

    assert service["Type"] == "notify"
    assert service["Restart"] == "always"
    assert int(service["WatchdogSec"]) > 0
    assert service["StateDirectory"] == "whycam"
    assert service["LoadCredential"].startswith("broker-password:")
    # A drain takes at most 5 s.
    assert int(service["TimeoutStopSec"]) > 5
    assert re.fullmatch(r"/\S+/whycam run -c /etc/whycam/whycam\.toml", service["ExecStart"])
