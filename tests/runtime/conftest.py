"""Parts that the tests of the runtime share: a bundle that can be checked by hand, and videos."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

# The test tree is no package: its own modules are found beside this file.
sys.path.insert(0, str(Path(__file__).parent))

import gpu_stub
import tiny_bundle

BLUE, GREEN, RED, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


@pytest.fixture(scope="session")
def built_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle.build(tmp_path_factory.mktemp("bundle") / "colours.whycam")


@pytest.fixture
def bundle(built_bundle: Path, tmp_path: Path) -> Path:
    """A bundle of the test's own, which it may damage."""
    return Path(shutil.copytree(built_bundle, tmp_path / "colours.whycam"))


@pytest.fixture(scope="session")
def headed_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model without a step graph."""
    return tiny_bundle.build(tmp_path_factory.mktemp("bundle") / "headed.whycam", step=False)


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gpu_stub.Device:
    """ONNX Runtime as on a device with a GPU and TensorRT."""
    return gpu_stub.install(monkeypatch, tmp_path / "engines")


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Writes a video whose frames have the colours given."""

    def make(colours: Sequence[tuple[int, int, int]], fps: float = 10, name: str = "video.mp4") -> Path:
        path = tmp_path / name
        codec = "mp4v" if path.suffix == ".mp4" else "MJPG"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (64, 48))
        for colour in colours:
            writer.write(np.full((48, 64, 3), colour, dtype=np.uint8))
        writer.release()
        return path

    return make


@pytest.fixture
def whycam(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command `whycam` as a user does, in a process of its own."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "whycam", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **environment},
            check=False,
        )

    return run
