"""The three distributions as a stranger gets them: wheels, and a fresh environment that has the runtime alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

DISTRIBUTIONS = ("runtime", "export", "calibration")


@dataclass(frozen=True)
class Environment:
    """A virtual environment, run as its user would."""

    path: Path

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # The caller's variables could lead to the checkout's own packages.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
        command = [str(self.path / "bin" / program), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=120, cwd=self.path, env={**environment, "COLUMNS": "120"}
        )


@pytest.fixture(scope="session")
def uv(repository: Path) -> Path:
    own = repository / ".uv" / "bin" / "uv"
    found = own if own.exists() else shutil.which("uv")
    if found is None:
        pytest.skip("uv is not here: make setup fetches it into .uv")
    return Path(found)


@pytest.fixture(scope="session")
def wheels(uv: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of each distribution -> its wheel."""
    built = {}
    for name in DISTRIBUTIONS:
        out = tmp_path_factory.mktemp(name)
        _run(
            uv,
            "build",
            "--quiet",
            "--wheel",
            "--no-build-isolation",
            "--python",
            sys.executable,
            "-o",
            out,
            repository / name,
        )
        (built[name],) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def device(
    uv: Path, wheels: dict[str, Path], repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """A fresh environment with the wheel of `whycam` and what it depends on, no extra."""
    path = tmp_path_factory.mktemp("device") / "venv"
    _run(uv, "venv", "--quiet", "--python", sys.executable, path)
    install = ("pip", "install", "--quiet", "--python", path / "bin" / "python", "-c", repository / "requirements.lock")
    try:  # `make setup` has left all of it in uv's cache; elsewhere the index is asked
        _run(uv, *install, "--offline", wheels["runtime"])
    except subprocess.CalledProcessError:
        _run(uv, *install, wheels["runtime"])
    return Environment(path)


@pytest.fixture(scope="session")
def workstation() -> Environment:
    """The environment of these tests, where all three distributions are installed."""
    return Environment(Path(sys.prefix))


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, timeout=300)
