"""Small real clips, and the folder of them that the tests train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

WriteClip = Callable[..., Path]


@pytest.fixture(scope="session")
def write_clip() -> WriteClip:
    """Write frames uint8 [n, H, W, 3] as a video of `fps`."""

    def write(path: Path, frames: np.ndarray, fps: float = 20) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = frames.shape[1:3]
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, (width, height))
        assert writer.isOpened()
        for frame in frames:
            writer.write(frame)
        writer.release()
        return path

    return write


@pytest.fixture(scope="session")
def brightening() -> Callable[[float, float], np.ndarray]:
    """Frames that tell their time: 60 grey levels a second, so that a sampled frame shows when it was taken."""

    def frames(seconds: float, fps: float) -> np.ndarray:
        times = np.arange(round(seconds * fps)) / fps
        levels = np.clip(np.round(40 + 60 * times), 0, 255).astype(np.uint8)
        return np.broadcast_to(levels[:, None, None, None], (len(levels), 64, 64, 3)).copy()

    return frames


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory, write_clip: WriteClip) -> Path:
    """Two classes that colour tells apart, eight clips each of 1.2 s, and one file that is no video."""
    root = tmp_path_factory.mktemp("clips")
    generator = np.random.default_rng(0)
    for label, colour in (("fight", (0, 0, 220)), ("normal", (200, 120, 0))):
        for index in range(8):
            frames = generator.integers(50, 80, (24, 64, 64, 3), dtype=np.uint8)
            for time, frame in enumerate(frames):
                left = (4 * time + 5 * index) % 48
                frame[20:36, left : left + 16] = colour
            write_clip(root / label / f"{index}.mp4", frames)
    (root / "fight" / "broken.mp4").write_bytes(b"no video" * 100)
    return root
