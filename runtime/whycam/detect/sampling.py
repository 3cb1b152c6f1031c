"""Frames of any rate onto the regular grid of times that the model was trained on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from whycam.errors import InputError
from whycam.sources.frame import Frame

COLD = -1
"""The answer of `Resampler.push` to a gap: the window starts anew with this frame."""

EARLY = 0.05
"""A frame this fraction of the interval before it is due is taken: time stamps are rounded."""


def longest_gap(frames: int, frame_interval: float) -> float:
    """Seconds without a frame that a window of `frames` may hold: a quarter of it, and two intervals at least.

    With more of it missing, what is left tells too little of the scene.
    """
    return frame_interval * max(2, frames // 4)


class Resampler:
    """Chooses from frames of any rate, even or not, one for each slot of a regular grid of times.

    The grid is anchored at the first frame, and anew after each gap. A slot is filled by the first frame that is not
    before it; a slot that passes without a frame holds the sample before it. So a camera faster than the grid loses
    frames, a slower one repeats them, and neither drifts.
    """

    def __init__(self, frame_interval: float, max_gap: float) -> None:
        """Sample every `frame_interval` seconds; more than `max_gap` seconds between two frames are a gap.

        Raises InputError where either is not a positive number.
        """
        for name, value in (("frame_interval", frame_interval), ("max_gap", max_gap)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be a positive number of seconds, not {value!r}")
        self.frame_interval = frame_interval
        self.max_gap = max_gap
        self._anchor = 0.0
        self._slots = 0
        self._last: float | None = None

    def push(self, time: float) -> int:
        """How many slots the frame at `time` (seconds) fills.

        0: it is not due. 1: it is the next sample. n > 1: n - 1 slots passed without a frame; the sample before is
        held for them and this frame fills the last. COLD: there was a gap, or the clock went back; this frame is
        the first sample of a new grid.

        Raises InputError where `time` is not finite.
        """
        if not math.isfinite(time):
            raise InputError(f"a frame's time must be a finite number of seconds, not {time!r}")
        last, self._last = self._last, time
        if last is None:
            return self._anchor_at(time, 1)
        if time < last or time - last > self.max_gap + EARLY * self.frame_interval:
            return self._anchor_at(time, COLD)
        late = self._late(time)
        if late < -EARLY:
            return 0
        fills = 1 + math.floor(late + EARLY)
        self._slots += fills
        return fills

    def is_due(self, time: float) -> bool:
        """Whether `push` would take a frame at `time` (seconds); changes nothing."""
        if self._last is None or not 0 <= time - self._last <= self.max_gap + EARLY * self.frame_interval:
            return True
        return self._late(time) >= -EARLY

    def _late(self, time: float) -> float:
        """How many intervals after the next slot `time` is; one rounding for who asks and who takes."""
        return (time - (self._anchor + self._slots * self.frame_interval)) / self.frame_interval

    def _anchor_at(self, time: float, answer: int) -> int:
        self._anchor = time
        self._slots = 1
        return answer


def sampled(frames: Iterable[Frame], resampler: Resampler) -> Iterator[tuple[Frame, bool]]:
    """The frame of each slot of the grid of `resampler`, and whether it begins a run: the first, or after a gap.

    A frame that is held for several slots comes as often.
    """
    held: Frame | None = None
    for frame in frames:
        slots = resampler.push(frame.time)
        if slots == 0:
            continue
        if held is not None:
            for _ in range(slots - 1):
                yield held, False
        begins = held is None or slots == COLD
        held = frame
        yield frame, begins
