"""Frames of any rate onto the grid of times."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whycam import InputError
from whycam.detect.sampling import COLD, EARLY, Resampler, sampled
from whycam.sources import Frame

rates = st.floats(min_value=1, max_value=120)
intervals = st.floats(min_value=0.02, max_value=2)


def slots(times: list[float], interval: float = 0.1, max_gap: float = 0.5) -> list[int]:
    resampler = Resampler(interval, max_gap)
    return [resampler.push(time) for time in times]


@pytest.mark.parametrize("fps", [12, 15, 23.976, 24, 25, 29.97, 30, 50, 59.94, 60])
def test_a_second_of_video_of_any_usual_rate_fills_ten_slots_of_a_tenth(fps: float) -> None:
    times = [index / fps for index in range(math.ceil(fps * 10))]

    assert sum(slots(times)) == pytest.approx(100, abs=1)
    assert set(slots(times)) <= {0, 1}


def test_a_camera_slower_than_the_grid_holds_its_samples() -> None:
    assert slots([0.0, 0.2, 0.4, 0.7]) == [1, 2, 2, 3]


def test_a_frame_slightly_before_its_slot_is_taken_because_time_stamps_are_rounded() -> None:
    assert slots([0.0, 0.096]) == [1, 1]
    assert slots([0.0, 0.094]) == [1, 0]


def test_a_gap_begins_a_new_grid() -> None:
    assert slots([0.0, 0.1, 0.8, 0.9]) == [1, 1, COLD, 1]


def test_a_gap_of_just_the_bound_is_none() -> None:
    assert slots([0.0, 0.5]) == [1, 5]


def test_a_clock_that_goes_back_begins_a_new_grid() -> None:
    assert slots([5.0, 4.0, 4.1]) == [1, COLD, 1]


def test_a_repeated_time_fills_nothing() -> None:
    assert slots([1.0, 1.0, 1.0]) == [1, 0, 0]


@pytest.mark.parametrize("time", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_no_number_is_refused(time: float) -> None:
    with pytest.raises(InputError, match="finite"):
        Resampler(0.1, 1).push(time)


@pytest.mark.parametrize(("interval", "max_gap"), [(0, 1), (-0.1, 1), (0.1, 0), (math.nan, 1)])
def test_an_interval_or_gap_that_is_not_positive_is_refused(interval: float, max_gap: float) -> None:
    with pytest.raises(InputError, match="positive"):
        Resampler(interval, max_gap)


@given(start=st.floats(0, 2e9), fps=rates, interval=intervals, count=st.integers(1, 400))
def test_no_slot_is_lost_or_filled_twice(start: float, fps: float, interval: float, count: int) -> None:
    times = [start + index / fps for index in range(count)]

    filled = slots(times, interval, max_gap=10)

    passed = (times[-1] - start) / interval
    assert COLD not in filled
    assert passed - 1e-3 <= sum(filled) <= passed + 1 + EARLY + 1e-3


@given(st.lists(st.floats(0.001, 0.5), min_size=1, max_size=200))
def test_a_sample_is_never_a_whole_interval_from_its_slot_while_frames_come_fast_enough(steps: list[float]) -> None:
    interval, resampler = 0.5, Resampler(0.5, 10)
    time, slot = 0.0, 0
    resampler.push(time)
    for step in steps:
        time += step
        filled = resampler.push(time)
        slot += filled
        if filled:
            assert -EARLY - 1e-9 <= (time - slot * interval) / interval < 1


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=100), st.floats(0.05, 1))
def test_any_order_of_times_gives_an_answer(times: list[float], max_gap: float) -> None:
    answers = slots(times, 0.1, max_gap)

    assert all(answer == COLD or 0 <= answer <= max_gap / 0.1 + 2 for answer in answers)


@pytest.mark.parametrize("fps", [7, 10, 12.5, 25, 30])
def test_asking_whether_a_frame_is_due_says_what_pushing_does(fps: float) -> None:
    resampler = Resampler(0.1, 1.0)
    for number in range(200):
        time = 5 + number / fps + (2.0 if number > 100 else 0.0)
        due = resampler.is_due(time)
        assert due == resampler.is_due(time)
        assert due == (resampler.push(time) != 0)


def test_the_grid_holds_a_frame_for_each_slot_and_tells_where_a_run_begins() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    frames = [Frame(picture, time) for time in (0.0, 0.04, 0.1, 0.4, 2.0, 2.1)]

    found = [(frame.time, begins) for frame, begins in sampled(frames, Resampler(0.1, 0.5))]

    held = [(0.1, False), (0.1, False), (0.4, False)]
    assert found == [(0.0, True), (0.1, False), *held, (2.0, True), (2.1, False)]
