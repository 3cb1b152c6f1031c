"""Megabytes on disk of fresh environments, their packages at the versions and hashes of the locks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
UV = ROOT / ".uv" / "bin" / "uv"
LOCK = ROOT / "requirements.lock"
BENCH_LOCK = ROOT / "bench" / "requirements.lock"
ENVIRONMENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "whycam": ("whycam alone: a subscriber, or a device with its own ONNX Runtime and OpenCV", ("whycam",)),
    "whycam-cpu": ("whycam[cpu]: all that a device needs", ("whycam[cpu]",)),
    "whycam-export": ("whycam-export[cpu]: the workstation", ("whycam-export[cpu]",)),
    "keras": ("TensorFlow and Keras", ("tensorflow", "keras")),
    "openvino": ("OpenVINO and OpenCV", ("openvino", "opencv-python-headless")),
    "litert": ("LiteRT and OpenCV", ("ai-edge-litert", "opencv-python-headless")),
}
WHEELS = {"whycam": "runtime", "whycam-export": "export"}
"""The project's own, and the folders that they are built of."""


def measure(folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Make each environment in `folder` and add up what it takes; or the reason why it cannot be made."""
    found: dict[str, Any] = {}
    for name, (title, packages) in ENVIRONMENTS.items():
        tell(f"install {', '.join(packages)}")
        place = folder / name
        if name == "whycam-export":
            packages = (*packages, "whycam")
        try:
            wanted = [_requirement(package, folder) for package in packages]
            _run("venv", "--quiet", "--python", sys.executable, place)
            _run(
                "pip", "install", "--quiet", "--python", place / "bin" / "python", "-c", LOCK, "-c", BENCH_LOCK, *wanted
            )
        except subprocess.CalledProcessError as error:
            reason = " ".join((error.stderr or "").split())[-300:]
            found[name] = {"title": title, "unavailable": reason or f"uv ended with status {error.returncode}"}
        except OSError as error:
            found[name] = {"title": title, "unavailable": f"uv does not start: {error.strerror}"}
        else:
            found[name] = {"title": title, "bytes": size(place)}
    return {"environments": found}


def size(folder: Path) -> int:
    """Bytes of the blocks that the files below `folder` take, a file with several names once."""
    seen: dict[tuple[int, int], int] = {}
    for path in folder.rglob("*"):
        if not path.is_symlink() and path.is_file():
            status = path.stat()
            seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def _requirement(package: str, folder: Path) -> str:
    name, bracket, extra = package.partition("[")
    return f"{name}{bracket}{extra} @ {_wheel(name, folder).as_uri()}" if name in WHEELS else package


def _wheel(name: str, folder: Path) -> Path:
    """The project's own wheel `name` in `folder`, built where it is not there yet."""
    pattern = f"{name.replace('-', '_')}-*.whl"
    if not any(folder.glob(pattern)):
        options = ("--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable)
        _run("build", *options, "-o", folder, WHEELS[name])
    return next(folder.glob(pattern))


def _run(*words: object) -> None:
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    subprocess.run([str(UV), *map(str, words)], check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
