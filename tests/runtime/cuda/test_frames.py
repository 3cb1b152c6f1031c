"""Frames on their way to the model's input in a device's memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from whycam.cuda.array import Pool
from whycam.cuda.device import Device
from whycam.cuda.frames import FrameLoader
from whycam.detect.resize import resize
from whycam.sources.frame import bgr

SIZE = 32


def scene(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def nv12(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    planes = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    colours = planes[height:].reshape(2, height // 2 * (width // 2))
    return np.vstack([planes[:height], colours.T.reshape(height // 2, width)])


@pytest.mark.parametrize(("height", "width"), [(48, 64), (240, 320), (20, 30)])
def test_bgr_and_nv12_become_what_the_host_makes_of_them(device: Device, height: int, width: int) -> None:
    loader = FrameLoader(Pool(device), SIZE, SIZE)
    for pixels in (scene(height, width), nv12(scene(height, width))):
        made = np.asarray(loader.load(pixels)).astype(int)
        assert made.shape == (SIZE, SIZE, 3)
        assert np.abs(made - resize(bgr(pixels), SIZE, SIZE)).max() <= 2


def test_cameras_load_at_once_and_memory_stays_what_it_was(device: Device) -> None:
    pool = Pool(device)
    loader = FrameLoader(pool, SIZE, SIZE)
    frames = [scene(48, 64, seed) for seed in range(8)]
    wanted = [np.asarray(loader.load(frame)) for frame in frames]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            made = list(threads.map(loader.load, frames))
            assert all((np.asarray(one) == other).all() for one, other in zip(made, wanted, strict=True))

    def watch() -> int:
        for _ in range(10):
            for frame in frames:
                loader.load(frame)
        return pool.reserved

    assert watch() == watch()
