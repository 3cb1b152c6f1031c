"""Timelines from scores that a test names, without a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whycam_calibration.thresholds.timeline import Timeline

INTERVAL = 0.1
CLASSES = ("normal", "fight")


def timeline(
    fight: Sequence[float] | NDArray[np.float64],
    *,
    label: str = "normal",
    name: str = "video.mp4",
    source: str | None = None,
    clip: bool = False,
    start: float = 0.0,
    first: float = 0.0,
    events: tuple[tuple[float, float], ...] | None = None,
) -> Timeline:
    """A decision each 0.1 s from `first` on, with these scores of 'fight'; NaN where the window is cold."""
    score = np.asarray(fight, np.float64)
    own = np.stack([1 - score, score], axis=1).astype(np.float32)
    with np.errstate(divide="ignore"):
        logits = np.log(own)
    times = first + INTERVAL * np.arange(len(score))
    return Timeline(name, label, source or name, clip, times, logits, own, start, INTERVAL, events)
