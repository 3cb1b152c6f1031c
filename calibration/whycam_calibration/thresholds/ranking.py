"""How well scores tell a class from the others, whatever the threshold: ROC and precision-recall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam_calibration.thresholds.examples import Examples

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Of one class against the others."""

    positives: int
    negatives: int
    roc_auc: float
    average_precision: float
    roc: tuple[Floats, Floats]
    """False and true positive rates."""
    precision_recall: tuple[Floats, Floats]
    """Recall and precision."""


def by_windows(examples: Examples, scores: Floats, column: int) -> Ranking | None:
    """Each window counts; None where all, or none, are of the class."""
    return _ranking(examples.labels == column, scores[:, column])


def by_clips(examples: Examples, scores: Floats, column: int) -> Ranking | None:
    """Each clip counts by its highest score, as of the class where one of its windows is."""
    clips, inverse = np.unique(examples.clips, return_inverse=True)
    highest = np.full(len(clips), -np.inf)
    np.maximum.at(highest, inverse, scores[:, column])
    shows = np.zeros(len(clips), bool)
    np.logical_or.at(shows, inverse, examples.labels == column)
    return _ranking(shows, highest)


def _ranking(positive: NDArray[np.bool_], scores: Floats) -> Ranking | None:
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    if positive.all() or not positive.any():
        return None
    false, true, _ = roc_curve(positive, scores)
    precision, recall, _ = precision_recall_curve(positive, scores)
    return Ranking(
        int(positive.sum()),
        int((~positive).sum()),
        float(roc_auc_score(positive, scores)),
        float(average_precision_score(positive, scores)),
        (false, true),
        (recall, precision),
    )
