"""The motion gate: what counts as motion."""

from __future__ import annotations

import numpy as np

from whycam.alerts.motion import MotionGate


def scene(x: int | None = None, brightness: int = 100) -> np.ndarray:
    """A grey picture, with a white square of 16 pixels at `x`."""
    image = np.full((128, 128, 3), brightness, np.uint8)
    if x is not None:
        image[56:72, x : x + 16] = 255
    return image


def test_the_first_picture_is_let_through() -> None:
    assert not MotionGate(0.02, 100).still(scene(), 0)


def test_a_picture_that_stays_is_still_until_it_is_time_to_refresh() -> None:
    gate = MotionGate(0.02, 2.0)
    told = [gate.still(scene(), time / 2) for time in range(10)]
    assert told == [False, True, True, True] * 2 + [False, True]


def test_something_small_that_moves_is_motion() -> None:
    gate = MotionGate(0.02, 100)
    gate.still(scene(), 0)
    assert not gate.still(scene(40), 1)
    assert gate.still(scene(40), 2)
    assert not gate.still(scene(48), 3)


def test_noise_is_no_motion() -> None:
    dice = np.random.default_rng(1)
    gate = MotionGate(0.02, 100)
    big = np.repeat(np.repeat(scene(40), 4, axis=0), 4, axis=1)
    noisy = [np.clip(big + dice.normal(0, 6, big.shape), 0, 255).astype(np.uint8) for _ in range(6)]
    assert [gate.still(image, time) for time, image in enumerate(noisy)] == [False] + [True] * 5


def test_slow_change_adds_up() -> None:
    gate = MotionGate(0.02, 1000)
    told = [gate.still(scene(brightness=100 + step), step) for step in range(31)]
    # 0.02 of full scale are 5.1 levels.
    assert [step for step, still in enumerate(told) if not still] == [0, 6, 12, 18, 24, 30]


def test_a_clock_that_goes_back_lets_through() -> None:
    gate = MotionGate(0.02, 100)
    gate.still(scene(), 50)
    assert not gate.still(scene(), 10)
    assert gate.still(scene(), 11)


def test_a_change_of_the_picture_size_is_no_fault() -> None:
    gate = MotionGate(0.02, 100)
    gate.still(scene(), 0)
    assert gate.still(np.full((480, 640, 3), 100, np.uint8), 1)
    assert not gate.still(np.full((7, 5, 3), 200, np.uint8), 2)
