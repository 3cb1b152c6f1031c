"""The window that ends at a time of a recorded video, found without running the model."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from whycam.bundle.manifest import Window
from whycam.detect.sampling import COLD, Resampler
from whycam.errors import InputError
from whycam.sources.frame import Frame


def window_at(frames: Iterable[Frame], window: Window, at: float) -> list[Frame]:
    """The T frames that a detector's window holds at its last decision at or before `at` seconds.

    `frames` are all of the video's from its start, because the first one anchors the grid of samples. A frame held for
    several slots stands in the list as often.

    Raises InputError, naming the times that are possible, where the window is not full then, or the video has ended.
    """
    resampler = Resampler(window.frame_interval, window.max_gap)
    samples: deque[Frame] = deque(maxlen=window.frames)
    chosen: list[Frame] | None = None
    spans: list[list[float]] = []
    fresh = True
    for frame in frames:
        if frame.time > at and chosen is not None:
            return chosen
        slots = resampler.push(frame.time)
        if slots == COLD:
            samples.clear()
            fresh = True
        for _ in range(min(slots - 1, window.frames)):
            samples.append(samples[-1])
        if slots != 0:
            samples.append(frame)
        full = len(samples) == window.frames
        if full:
            if fresh:
                spans.append([frame.time, frame.time])
                fresh = False
            spans[-1][1] = frame.time
        if frame.time <= at:
            chosen = list(samples) if full else None
    if chosen is not None and spans and at <= spans[-1][1]:
        return chosen
    raise InputError(f"no full window ends at {at:g} s: {_possible(spans, window)}")


def _possible(spans: list[list[float]], window: Window) -> str:
    if not spans:
        length = (window.frames - 1) * window.frame_interval
        return f"the video holds none ({window.frames} frames in {length:g} s without a gap over {window.max_gap:g} s)"
    # Rounded inwards: each time that is named is possible.
    times = [f"{_up(first):g} to {-_up(-last):g}" for first, last in spans]
    return f"choose from {', '.join(times)} s"


def _up(seconds: float) -> float:
    # To the next millisecond; the last bit of 3 * 0.1 is no reason for one more.
    return math.ceil(seconds * 1000 - 1e-6) / 1000
