"""How good the model is, by clip: a clip's score is the mean over its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whycam.clips import Clip
from whycam_export.training.features import Example


@dataclass(frozen=True, eq=False)
class ClipScores:
    """The clips of one side, scored."""

    clips: tuple[Clip, ...]
    labels: npt.NDArray[np.int64]
    """[C]: each one's class by its place in the model's order."""
    scores: npt.NDArray[np.float64]
    """[C, K]: the mean over its windows."""
    windows: int

    @classmethod
    def of(cls, examples: Sequence[Example], scores: npt.NDArray[np.float32]) -> ClipScores:
        """From the scores [N, K] of windows to those of their clips."""
        rows: dict[Clip, list[int]] = {}
        for row, example in enumerate(examples):
            rows.setdefault(example.clip, []).append(row)
        means = np.stack([scores[chosen].mean(axis=0, dtype=np.float64) for chosen in rows.values()])
        labels = np.array([examples[chosen[0]].label for chosen in rows.values()])
        return cls(tuple(rows), labels, means, len(examples))

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """[C]: the class with the highest score."""
        return np.asarray(self.scores.argmax(axis=1))

    def confusion(self) -> npt.NDArray[np.int64]:
        """[K, K]: clips by true class (row) and predicted class (column)."""
        classes = self.scores.shape[1]
        counts = np.zeros((classes, classes), dtype=np.int64)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts


def summary(scored: ClipScores, classes: Sequence[str], normal: str) -> dict[str, Any]:
    """Accuracy, recall of each class and areas under the ROC curve, with the confusion they come from.

    `auc` is each class against the rest; `anomaly_auc` ranks clips by 1 - score of `normal`. A figure that needs a
    class of which there is no clip is None.
    """
    counts = scored.confusion()
    totals = counts.sum(axis=1)
    recall = [float(counts[row, row] / total) if total else None for row, total in enumerate(totals)]
    anomalous = scored.labels != classes.index(normal)
    return {
        "clips": len(scored.clips),
        "windows": scored.windows,
        "accuracy": float(np.trace(counts) / len(scored.clips)),
        "recall": dict(zip(classes, recall, strict=True)),
        "auc": {name: _auc(scored.labels == row, scored.scores[:, row]) for row, name in enumerate(classes)},
        "anomaly_auc": _auc(anomalous, 1 - scored.scores[:, classes.index(normal)]),
        "confusion": counts.tolist(),
    }


def _auc(positive: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> float | None:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, scores)) if 0 < positive.sum() < len(positive) else None
