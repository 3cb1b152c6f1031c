"""How fast feature extractors are beside one another: in one run, in turn, so that a busy machine slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam_calibration.precision.extractor import Extractor

ROUNDS = 25

Measure = Callable[[Mapping[str, Extractor], NDArray[np.uint8]], "dict[str, Speed]"]
"""As `measure`."""


@dataclass(frozen=True)
class Speed:
    """Of one frame through the CNN."""

    seconds: float
    """Median."""
    ratio: float
    """Median of fp32's time over this one's, round by round; above 1 it is faster."""


def measure(extractors: Mapping[str, Extractor], image: NDArray[np.uint8]) -> dict[str, Speed]:
    """The speed of `extractors`, the first being fp32, on `image` uint8 [H, W, 3]."""
    frame = image[np.newaxis]
    times = np.zeros((ROUNDS, len(extractors)))
    for extract in extractors.values():
        extract(frame)
    for turn in range(ROUNDS):
        for place, extract in enumerate(extractors.values()):
            start = time.perf_counter()
            extract(frame)
            times[turn, place] = time.perf_counter() - start
    ratios = np.median(times[:, :1] / times, axis=0)
    return {
        name: Speed(float(np.median(times[:, place])), float(ratios[place])) for place, name in enumerate(extractors)
    }
