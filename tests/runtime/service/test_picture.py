"""A picture that tells nothing is told from a quiet or a dark scene."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from whycam.service.picture import Fault, PictureWatch

STEP = 0.5
"""Seconds between frames."""
DICE = np.random.default_rng(1)
SCENE = DICE.integers(40, 200, (240, 320, 3), dtype=np.uint8)
BLACK = np.zeros((240, 320, 3), np.uint8)


def told(*images: NDArray[np.uint8], frozen_seconds: float = 2, black_seconds: float = 2) -> list[Fault | None]:
    """What the watch says of each picture."""
    watch = PictureWatch(frozen_seconds, black_seconds)
    return [watch.push(image, 100 + STEP * place) for place, image in enumerate(images)]


def noisy(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same scene, as a sensor sees it the next time."""
    return np.asarray(np.clip(image + DICE.integers(-1, 2, image.shape), 0, 255), dtype=np.uint8)


def lit(level: int) -> NDArray[np.uint8]:
    """A picture of one brightness, 0 to 255, that is never the same twice."""
    image = np.full((240, 320, 3), level, np.uint8)
    image[0, 0, 0] = DICE.integers(0, level + 1)
    return image


def test_the_same_pixels_for_long_are_a_frozen_picture() -> None:
    assert told(*[SCENE] * 6) == [None, None, None, None, "frozen", "frozen"]


def test_a_picture_that_moves_again_is_not_frozen_and_may_freeze_anew() -> None:
    other = noisy(SCENE)
    assert told(*[SCENE] * 5, *[other] * 5) == [*[None] * 4, "frozen", *[None] * 4, "frozen"]


def test_a_quiet_scene_is_not_frozen_where_the_sensor_has_noise() -> None:
    assert set(told(*[noisy(SCENE) for _ in range(12)])) == {None}


def test_no_light_for_long_is_a_black_picture() -> None:
    assert told(*[lit(5) for _ in range(5)], noisy(SCENE)) == [None, None, None, None, "black", None]


def test_a_black_picture_that_is_frozen_too_is_called_black() -> None:
    assert told(*[BLACK] * 5)[-1] == "black"


@pytest.mark.parametrize(
    "night",
    [pytest.param(lambda: lit(20), id="light enough"), pytest.param(lambda: noisy(SCENE // 12), id="dark, not even")],
)
def test_a_dark_scene_is_not_black(night: object) -> None:
    assert callable(night)
    assert set(told(*[night() for _ in range(12)])) == {None}


def test_a_black_picture_with_a_clock_in_its_corner_is_black() -> None:
    """Cameras write the time into the picture; it is less than a fiftieth of it."""

    def clock(second: int) -> NDArray[np.uint8]:
        image = BLACK.copy()
        image[:20, : 40 + second] = 255
        return image

    assert told(*[clock(second) for second in range(5)])[-1] == "black"


def test_black_between_pictures_begins_anew() -> None:
    assert set(told(*[lit(5), lit(5), lit(5), noisy(SCENE)] * 4)) == {None}


def test_0_seconds_is_never() -> None:
    assert set(told(*[BLACK] * 50, frozen_seconds=0, black_seconds=0)) == {None}
    assert told(*[BLACK] * 5, black_seconds=0)[-1] == "frozen"


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 5, 3), (63, 65, 3), (1080, 1920, 3)])
def test_pictures_of_any_size_are_watched(shape: tuple[int, int, int]) -> None:
    light, dark = np.full(shape, 90, np.uint8), np.zeros(shape, np.uint8)
    assert told(*[light] * 5)[-1] == "frozen"
    assert told(*[dark] * 5)[-1] == "black"


def test_a_change_of_size_is_a_change() -> None:
    assert told(*[SCENE] * 4, *[SCENE[:120, :160]] * 4) == [None] * 8


def nv12(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture's pixels as a hardware decoder gives them, without colours."""
    height, width = image.shape[:2]
    luma = 16 + cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) * (219 / 255)
    return np.vstack([luma.astype(np.uint8), np.full((height // 2, width), 128, np.uint8)])


def test_a_decoder_s_luma_tells_the_same() -> None:
    assert told(*[nv12(SCENE)] * 6) == told(*[SCENE] * 6)
    for level in (3, 60):
        assert told(*[nv12(noisy(lit(level))) for _ in range(6)]) == told(*[noisy(lit(level)) for _ in range(6)])
    assert told(*[nv12(noisy(lit(3))) for _ in range(6)])[-1] == "black"
