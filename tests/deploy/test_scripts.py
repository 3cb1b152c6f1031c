"""The shell scripts of deploy/, as shellcheck sees them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SHELLCHECK = shutil.which("shellcheck")


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not installed: apt-get install shellcheck")
def test_shellcheck_has_nothing_to_say(repository: Path) -> None:
    assert SHELLCHECK is not None
    scripts = sorted((repository / "deploy").glob("*/*.sh"))

    command = [SHELLCHECK, "--external-sources", "--source-path=SCRIPTDIR", *scripts]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (0, ""), done.stdout
