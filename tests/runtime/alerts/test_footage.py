"""Footage: the last seconds, in bounded memory."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest

from whycam.alerts.footage import Footage


def picture(level: int = 0, width: int = 64) -> np.ndarray:
    """A grey picture."""
    return np.full((48, width, 3), level, np.uint8)


def times(footage: Footage) -> list[float]:
    """Of what is kept."""
    return [time for time, _ in footage.frames()]


def test_the_last_seconds_are_kept() -> None:
    footage = Footage(2.0)
    for time in range(10):
        footage.add(picture(), float(time))
    assert times(footage) == [7.0, 8.0, 9.0]


def test_a_frame_is_found_by_its_time() -> None:
    footage = Footage(10.0)
    for time in range(5):
        footage.add(picture(40 * time), time / 10)
    found = footage.at(0.3)
    assert found is not None
    assert found.shape == (48, 64, 3)
    assert found.mean() == pytest.approx(120, abs=2)
    assert footage.at(0.35) is None
    assert footage.at(9.0) is None


def test_wide_pictures_are_made_smaller_and_keep_their_shape() -> None:
    footage = Footage(1.0, max_width=100)
    footage.add(np.zeros((300, 400, 3), np.uint8), 0.0)
    ((_, jpeg),) = footage.frames()
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape == (75, 100, 3)


def test_without_seconds_nothing_is_kept() -> None:
    footage = Footage(0.0)
    footage.add(picture(), 0.0)
    assert footage.frames() == []


def test_a_fast_camera_takes_no_more_memory_than_others() -> None:
    footage = Footage(1e9)
    for number in range(1500):
        footage.add(picture(width=8), number / 1000)
    assert len(footage.frames()) == 1200
    assert times(footage)[-1] == 1.499


def test_a_clock_that_goes_back_begins_anew() -> None:
    footage = Footage(10.0)
    for time in (100.0, 101.0, 50.0, 51.0):
        footage.add(picture(), time)
    assert times(footage) == [50.0, 51.0]


def test_it_is_read_while_it_is_written() -> None:
    footage = Footage(0.5)
    over = threading.Event()

    def film() -> None:
        for number in range(400):
            footage.add(picture(), number / 100)
        over.set()

    writer = threading.Thread(target=film)
    writer.start()
    while not over.is_set():
        seen = times(footage)
        assert seen == sorted(seen)
    writer.join()
    assert len(footage.frames()) == 51
