"""What the demo is judged by: whether windows get the right label, and whether heat maps point at the anomaly.

Which windows count. A decision judges the T frames that end with it. Its truth is

- normal, where none of the T frames shows the anomaly;
- the clip's class, where the last half of them or more (at least T/2, rounded up) shows it;
- undecided in between, where a label either way would be right: such windows are not counted, nor are cold ones.

Which heat maps count. Of each explained window every frame that shows the anomaly, once per window. A frame counts as
hit where the centre of the largest cell of its heat map lies on the anomaly's mask; a map without any heat is a miss.
The chance level is the mean part of the frame that the mask covers: what a peak placed at random would hit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam import Decision, Explanation
from whycam_export.demo.footage import Truth
from whycam_export.demo.scenes import NORMAL
from whycam_export.evaluation.space import hits

ACCURACY_REQUIRED = 0.95
POINTING_REQUIRED = 0.9


@dataclass(frozen=True)
class Pointing:
    """How often peaks lie on the anomaly: `hits` of `frames`; `area` is the sum of the masks' parts of the frame."""

    hits: int = 0
    frames: int = 0
    area: float = 0.0

    def __add__(self, other: Pointing) -> Pointing:
        return Pointing(self.hits + other.hits, self.frames + other.frames, self.area + other.area)

    @property
    def rate(self) -> float:
        """Part of the frames whose peak lies on the anomaly; 0 where there is no frame."""
        return self.hits / self.frames if self.frames else 0.0

    @property
    def chance(self) -> float:
        """The rate of peaks placed at random."""
        return self.area / self.frames if self.frames else 0.0


def true_label(truth: Truth, time: float, frames: int, interval: float) -> str | None:
    """The truth of the window of `frames` frames, `interval` seconds apart, that ends at `time`; None: undecided."""
    times = time - interval * np.arange(frames)
    # Time stamps are rounded, in the file and in the sum above.
    inside = (times >= truth.t0 - 1e-6) & (times < truth.t1 - 1e-6)
    if not inside.any():
        return NORMAL
    return truth.label if inside[: (frames + 1) // 2].all() else None


def confusion(
    judged: Sequence[tuple[Truth, Sequence[Decision]]], classes: Sequence[str], frames: int, interval: float
) -> NDArray[np.int64]:
    """How many windows of each true class (row) got each label (column), int [K,K]."""
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for truth, decisions in judged:
        for decision in decisions:
            expected = true_label(truth, decision.time, frames, interval)
            if decision.label is not None and expected is not None:
                counts[classes.index(expected), classes.index(decision.label)] += 1
    return counts


def accuracy(counts: NDArray[np.int64]) -> float:
    """Part of the counted windows on the diagonal of the confusion matrix; 0 where none counts."""
    total = int(counts.sum())
    return int(np.trace(counts)) / total if total else 0.0


def pointing(truth: Truth, explanation: Explanation) -> Pointing:
    """Whether the peaks of the explained window's heat maps lie on the anomaly."""
    result = Pointing()
    for heatmap, time in zip(explanation.heatmaps, explanation.times, strict=True):
        mask = truth.mask_at(float(time))
        if mask.any():
            result += Pointing(int(hits(heatmap, mask)), 1, float(mask.mean()))
    return result
