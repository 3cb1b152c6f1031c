"""The first part of a camera's way through the detector: which frames are due, and how the model sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.cuda.array import DeviceArray, Picture
from whycam.detect.sampling import COLD, Resampler
from whycam.errors import InputError
from whycam.sources.frame import check_image


@dataclass(frozen=True, eq=False)
class Due:
    """A frame that is due, on its way to a decision."""

    image: Picture
    """[H, W, 3] BGR, at the model's size."""
    time: float
    """Seconds."""
    still: bool
    """Whether nothing has moved since the due frame before: the CNN need not run."""
    run: int
    """Which run of frames without a gap it belongs to."""
    slot: int
    """Its place in the run's grid of samples, from 0."""
    slots: int
    """How many it fills: those before the last passed without a frame."""


class Intake:
    """Takes one camera's frames. Not safe for several threads at once."""

    def __init__(self, manifest: Manifest, see: Callable[[NDArray[np.uint8]], Picture]) -> None:
        """For the model in `manifest`, which frames are brought to the size of by `see`; no frame yet."""
        self._interval = manifest.window.frame_interval
        self._resampler = Resampler(self._interval, manifest.window.max_gap)
        self._see = see
        self._timed: bool | None = None
        self._time = 0.0
        self._run = 0
        self._slot = 0

    def take(self, frame: Picture, time: float | None, still: bool) -> Due | None:
        """See `Detector.take`."""
        if not isinstance(frame, DeviceArray):
            check_image(frame)
        begins = self._timed is None
        if self._timed is None:
            self._timed = time is not None
        elif self._timed != (time is not None):
            before = "with" if self._timed else "without"
            raise InputError(
                f"frames were pushed {before} a time before: push all of them so, or load another detector"
            )
        if time is None:
            slots = 1
            time = 0.0 if begins else self._time + self._interval
        else:
            slots = self._resampler.push(time)
        if slots == 0:
            return None
        begins = begins or slots == COLD
        if begins:
            self._run, self._slot, slots = self._run + 1, 0, 1
        else:
            self._slot += slots
        self._time = time
        if isinstance(frame, DeviceArray):
            image: Picture = frame
        else:
            image = self._see(frame)
            # A picture of the model's own size is the caller's array, which may be reused for the next one.
            image = image.copy() if image is frame else image
        return Due(image, time, still and not begins, self._run, self._slot, slots)

    def is_due(self, time: float) -> bool:
        """See `Detector.is_due`."""
        return self._resampler.is_due(time)
