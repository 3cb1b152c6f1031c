"""The window at a time of a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import INTERVAL, MAX_GAP, SIZE, T

import whycam
from whycam import Frame, InputError
from whycam.bundle.manifest import Window
from whycam.detect.window import window_at

WINDOW = Window(frames=T, frame_interval=INTERVAL, max_gap=MAX_GAP)


def film(times: list[float]) -> list[Frame]:
    pictures = np.random.default_rng(5).integers(0, 256, (len(times), SIZE, SIZE, 3), dtype=np.uint8)
    return [Frame(picture, time) for picture, time in zip(pictures, times, strict=True)]


def steady(fps: float, seconds: float, start: float = 0.0) -> list[float]:
    return [start + index / fps for index in range(round(fps * seconds))]


def times(frames: list[Frame]) -> list[float]:
    return [frame.time for frame in frames]


def test_the_window_ends_at_the_last_decision_before_the_moment() -> None:
    frames = film(steady(25, 2))

    assert times(window_at(frames, WINDOW, 1.05)) == pytest.approx([0.72, 0.8, 0.92, 1.0])


@pytest.mark.parametrize("stamps", [steady(25, 3), steady(12, 3), steady(6, 3), steady(25, 1) + steady(25, 2, 5.0)])
def test_it_is_the_window_that_a_detector_holds_then(built_bundle: Path, stamps: list[float]) -> None:
    frames = film(stamps)
    detector = whycam.load(built_bundle)
    for frame in frames:
        decision = detector.push(frame.image, frame.time)
        if decision is not None and decision.warm:
            window = window_at(frames, WINDOW, decision.time)
            explanation = detector.explain()
            assert times(window) == explanation.times.tolist()
            assert (np.stack([frame.image for frame in window]) == explanation.frames).all()


def test_a_moment_too_early_names_the_possible_times() -> None:
    with pytest.raises(InputError, match=r"no full window ends at 0\.1 s: choose from 0\.3 to 1\.9 s"):
        window_at(film(steady(10, 2)), WINDOW, 0.1)


def test_a_moment_beyond_the_end_names_the_possible_times() -> None:
    with pytest.raises(InputError, match=r"no full window ends at 7 s: choose from 0\.3 to 1\.9 s"):
        window_at(film(steady(10, 2)), WINDOW, 7)


def test_a_moment_after_a_gap_names_the_possible_times_on_both_sides() -> None:
    frames = film(steady(10, 1) + steady(10, 1, 5.0))

    with pytest.raises(InputError, match=r"ends at 5\.1 s: choose from 0\.3 to 0\.9, 5\.3 to 5\.9 s"):
        window_at(frames, WINDOW, 5.1)


def test_within_a_gap_the_window_before_it_counts_still() -> None:
    frames = film(steady(10, 1) + steady(10, 1, 5.0))

    assert times(window_at(frames, WINDOW, 3.0))[-1] == pytest.approx(0.9)


def test_a_video_shorter_than_a_window_has_no_possible_time() -> None:
    with pytest.raises(InputError, match="the video holds none"):
        window_at(film(steady(10, 0.3)), WINDOW, 0.2)
