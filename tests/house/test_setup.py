"""What `make setup` says where it cannot go on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def old_python(tmp_path: Path) -> Path:
    """A program that answers like a Python outside the supported range: the version check exits with 1."""
    program = tmp_path / "python3.9"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    return program


def test_an_unsupported_python_is_answered_in_one_line(repository: Path, old_python: Path) -> None:
    done = subprocess.run(
        [repository / "scripts" / "setup"],
        env={**os.environ, "PYTHON": str(old_python)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "Python 3.10 to 3.13" in line
    assert str(old_python) in line
