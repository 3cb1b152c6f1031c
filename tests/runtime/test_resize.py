"""Frames to the model's size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from whycam.detect.resize import resize


@pytest.mark.parametrize("shape", [(8, 8), (9, 5), (480, 640), (3, 4), (1, 1)])
def test_any_size_becomes_the_models(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), (10, 20, 30), dtype=np.uint8)

    resized = resize(image, 6, 4)

    assert resized.shape == (6, 4, 3)
    assert resized.dtype == np.uint8
    assert (resized == (10, 20, 30)).all()


def test_shrinking_averages_areas() -> None:
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    image[::2, ::2] = 200

    assert (resize(image, 2, 2) == 50).all()


@pytest.mark.parametrize("shape", [(1080, 1920), (2160, 3840), (1200, 1600), (1080, 1918)])
def test_a_large_image_shrinks_to_what_one_average_over_areas_gives(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(4)
    coarse = random.integers(0, 256, (shape[0] // 40, shape[1] // 40, 3), dtype=np.uint8)
    noise = random.integers(-8, 9, (*shape, 3))
    image = np.clip(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC) + noise, 0, 255).astype(np.uint8)

    difference = resize(image, 112, 112).astype(int) - cv2.resize(image, (112, 112), interpolation=cv2.INTER_AREA)

    assert np.abs(difference).max() <= 4
    assert np.abs(difference).mean() < 0.5


def test_a_view_of_an_array_is_as_good_as_a_copy() -> None:
    image = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)

    flipped = image[:, ::-1, ::-1]

    assert (resize(flipped, 8, 8) == resize(flipped.copy(), 8, 8)).all()
