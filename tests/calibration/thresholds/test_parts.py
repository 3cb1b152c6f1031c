"""What is held back, and which events are detected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.calibration.thresholds.timelines import INTERVAL, timeline
from whycam_calibration.thresholds.choice import rules_for
from whycam_calibration.thresholds.detection import detection_of
from whycam_calibration.thresholds.split import hold_back
from whycam_calibration.thresholds.timeline import Timeline

WINDOW = 4


def hours(part: tuple[Timeline, ...]) -> float:
    return sum(one.hours for one in part)


# -- held back --


def test_whole_sources_are_held_back_where_that_gives_about_the_share() -> None:
    normal = [timeline([0.1] * 100, source=source, name=f"{source}{n}.mp4") for source in "abc" for n in range(2)]

    parts = hold_back(normal, 1 / 3, WINDOW)

    assert {one.source for one in parts.choose} == {"a", "b"}
    assert {one.source for one in parts.check} == {"c"}


def test_a_single_video_is_cut_in_time_and_a_window_between_belongs_to_neither() -> None:
    (first,), (second,) = (lambda parts: (parts.choose, parts.check))(
        hold_back([timeline(np.linspace(0, 1, 300))], 1 / 3, WINDOW)
    )

    assert len(first.times) == 200
    assert second.times[0] - first.times[-1] == pytest.approx((WINDOW + 1) * INTERVAL)
    assert len(second.times) == 100 - WINDOW


def test_clips_and_footage_are_each_held_back_in_part() -> None:
    footage = [timeline([0.1] * 300, name=f"{n}.mp4") for n in range(3)]
    clips = [timeline([0.1] * 10, name=f"c{n}.mp4", clip=True) for n in range(9)]

    parts = hold_back([*footage, *clips], 1 / 3, WINDOW)

    assert (sum(one.clip for one in parts.check), sum(not one.clip for one in parts.check)) == (3, 1)


def test_what_is_too_little_to_divide_is_all_chosen_on() -> None:
    parts = hold_back([timeline([0.1])], 1 / 3, WINDOW)

    assert (len(parts.choose), parts.check) == (1, ())


@given(st.lists(st.tuples(st.integers(1, 200), st.sampled_from("abcd"), st.booleans()), min_size=1, max_size=12))
def test_no_moment_is_in_both_parts_and_only_a_window_is_lost(videos: list) -> None:
    normal = [
        timeline([0.1] * length, source=source + str(clip), name=f"{index}.mp4", clip=clip)
        for index, (length, source, clip) in enumerate(videos)
    ]

    parts = hold_back(normal, 1 / 3, WINDOW)

    moments = [(one.name, round(time, 3)) for part in (parts.choose, parts.check) for one in part for time in one.times]
    assert len(moments) == len(set(moments))
    assert sum(length for length, _, _ in videos) - WINDOW <= len(moments)
    assert parts.choose


# -- detected --


def detected(clip: Timeline, *, raise_at: float = 0.7, minimum_seconds: float = 0.0) -> tuple[int, list[float], int]:
    found = detection_of([clip], 1, rules_for(raise_at, minimum_seconds, 0.0), 1.0, WINDOW * INTERVAL)
    return found.events, [round(delay, 3) for delay in found.delays], found.held


def test_the_delay_runs_from_the_beginning_of_the_event() -> None:
    scores = [0.1] * 20 + [0.9] * 20
    clip = timeline(scores, label="fight", clip=True, first=0.3, events=((1.8, 4.2),))

    assert detected(clip) == (1, [0.5], 0)
    assert detected(clip, minimum_seconds=0.5) == (1, [1.0], 0)


def test_without_known_times_it_runs_from_the_clips_beginning_and_holds_the_filling_of_the_window() -> None:
    assert detected(timeline([0.9] * 30, label="fight", clip=True, start=0.0, first=0.3)) == (1, [0.3], 0)


def test_a_false_alarm_before_the_event_is_no_detection() -> None:
    scores = [0.9] * 10 + [0.1] * 60 + [0.2] * 30

    assert detected(timeline(scores, label="fight", clip=True, events=((7.0, 9.9),))) == (1, [], 0)


def test_an_episode_that_goes_on_into_the_event_has_no_delay() -> None:
    assert detected(timeline([0.9] * 40, label="fight", clip=True, events=((2.0, 3.9),))) == (1, [0.0], 0)


def test_each_range_of_a_clip_is_an_event() -> None:
    scores = [0.1] * 10 + [0.9] * 10 + [0.1] * 150 + [0.9] * 10 + [0.1] * 30

    assert detected(timeline(scores, label="fight", clip=True, events=((1.0, 2.0), (17.0, 18.0)))) == (2, [0.0, 0.0], 0)


def test_a_clip_too_short_to_hold_is_taken_to_go_on_and_counted() -> None:
    short = timeline([0.9] * 3, label="fight", clip=True, first=0.3)

    assert detected(short, minimum_seconds=1.0) == (1, [1.3], 1)
    assert detected(short, minimum_seconds=0.2) == (1, [0.5], 0)


def test_a_clip_whose_event_has_ended_is_not_taken_to_go_on() -> None:
    short = timeline([0.9] * 8, label="fight", clip=True, events=((0.0, 0.4),))

    assert detected(short, minimum_seconds=1.0) == (1, [], 0)
