"""How fast graphs are beside one another: in one run, in turn, so that a busy machine slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS = 25

FASTER = 1.1
"""How many times faster than without it a form for the CPU must be on the CPU to have a file of its own."""

Run = Callable[[NDArray[Any]], object]
Measure = Callable[[Mapping[str, Run], NDArray[Any]], "dict[str, Speed]"]
"""As `measure`."""


@dataclass(frozen=True)
class Speed:
    """Of one frame."""

    seconds: float
    """Median."""
    ratio: float
    """Median of fp32's time over this one's, round by round; above 1 it is faster."""


def measure(runs: Mapping[str, Run], one: NDArray[Any]) -> dict[str, Speed]:
    """The speed of `runs`, the first being fp32, on a batch of `one`: a frame's image or its features."""
    batch = one[np.newaxis]
    times = np.zeros((ROUNDS, len(runs)))
    for run in runs.values():
        run(batch)
    for turn in range(ROUNDS):
        for place, run in enumerate(runs.values()):
            start = time.perf_counter()
            run(batch)
            times[turn, place] = time.perf_counter() - start
    ratios = np.median(times[:, :1] / times, axis=0)
    return {name: Speed(float(np.median(times[:, place])), float(ratios[place])) for place, name in enumerate(runs)}
