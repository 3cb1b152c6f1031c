"""What the tests of calibration share with those of the runtime: a bundle that can be checked by hand, and videos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.calibration import conv_bundle
from tests.runtime.conftest import built_bundle, bundle, make_video, whycam

__all__ = ["built_bundle", "bundle", "make_video", "whycam"]


@pytest.fixture
def conv(tmp_path: Path) -> Path:
    """A bundle with convolutions."""
    return conv_bundle.build(tmp_path / "conv.whycam")


@pytest.fixture
def write_clip() -> Callable[..., Path]:
    """Writes frames uint8 [n, h, w, 3] as a video, 10 a second, each pixel a block of 8 x 8."""

    def write(path: Path, frames: np.ndarray, fps: float = 10) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        large = frames.repeat(8, axis=1).repeat(8, axis=2)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, large.shape[2:0:-1])
        for frame in large:
            writer.write(frame)
        writer.release()
        return path

    return write


@pytest.fixture
def footage(tmp_path: Path, write_clip: Callable[..., Path]) -> Path:
    """Eight clips of twelve frames, each of other colours."""
    for seed in range(8):
        write_clip(tmp_path / "footage" / f"clip{seed}.avi", conv_bundle.textures(seed + 1, 12))
    return tmp_path / "footage"
