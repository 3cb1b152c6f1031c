"""Films to measure with: 10 frames a second, MPEG-4, of a camera that stands still."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, FPS = 640, 360, 10
NOISE = 3.0
"""Standard deviation of the sensor's noise, of 255."""


def write_video(path: Path, frames: int, *, moving: bool, seed: int = 0) -> Path:
    """A film of `frames` frames in which something moves, or nothing but the sensor's noise."""
    import cv2

    random = np.random.default_rng(seed)
    rough = random.integers(40, 216, (HEIGHT // 20, WIDTH // 20, 3), dtype=np.uint8)
    backdrop = cv2.resize(rough, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    for index in range(frames):
        picture = backdrop + random.normal(0, NOISE, backdrop.shape).astype(np.float32)
        if moving:
            for size, speed in ((60, 7), (90, -11), (40, 17)):
                left = index * speed % (WIDTH - size)
                picture[100 + size : 100 + 2 * size, left : left + size] = 255 - size
        writer.write(np.clip(picture, 0, 255).astype(np.uint8))
    writer.release()
    return path


def read_video(path: Path, side: int) -> NDArray[np.uint8]:
    """Its frames at the model's size, uint8 [n, side, side, 3] BGR."""
    import whycam
    from whycam.detect.resize import resize

    return np.stack([resize(frame.image, side, side) for frame in whycam.open_source(str(path))])
