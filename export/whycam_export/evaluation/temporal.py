"""When: whether the frames that are said to matter do, and whether they are the anomaly's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from whycam_export.evaluation.deletion import area

Floats = NDArray[np.float32]
Order = NDArray[np.int64]
Score = Callable[[Floats], Floats]
"""The class's score [N] of windows of features, f32 [N, T, F]."""


def order_of(relevance: Floats, rng: np.random.Generator) -> Order:
    """The frames [T] from the most to the least relevant; ties are drawn by lot."""
    lot = rng.permutation(len(relevance))
    return lot[np.argsort(-relevance[lot], kind="stable")]


def held(kept: NDArray[np.bool_]) -> Order:
    """Which frame stands in each slot [T] where only the frames `kept` [T] are there.

    As on the device: a missing frame is held by the nearest there is before it; before the first, that one stands in.
    """
    slots = np.where(kept, np.arange(len(kept)), -1)
    before = np.maximum.accumulate(slots)
    found: Order = np.where(before < 0, int(kept.argmax()), before)
    return found


def curves_in_time(features: Floats, order: Order, score: Score) -> tuple[Floats, Floats]:
    """The scores [T] as frames are deleted and as they are inserted, in `order` [T], from features [T, F].

    Petsiuk et al. 2018 ("RISE", section 4.3) with frames for pixels: the first curve begins with all frames and ends
    with the least relevant alone, the second begins with the most relevant alone and ends with all. What is missing is
    held (see `held`), so that every window is one that a camera could deliver.
    """
    frames = len(features)
    position = np.empty(frames, np.int64)
    position[order] = np.arange(frames)
    kept = [position >= gone for gone in range(frames)] + [position <= there for there in range(frames)]
    scores = score(np.stack([features[held(each)] for each in kept]))
    return scores[:frames], scores[frames:]


def areas_in_time(features: Floats, order: Order, score: Score) -> tuple[float, float]:
    """The areas under `curves_in_time`: of deletion (low is good) and of insertion (high is good)."""
    deletion, insertion = curves_in_time(features, order, score)
    return area(deletion), area(insertion)


def roc_auc(values: Floats, inside: NDArray[np.bool_]) -> float:
    """The chance that a frame inside the anomaly has a higher value than one outside; equal ones count half.

    The area under the ROC curve, as the Mann-Whitney statistic (Hanley and McNeil 1982). `values` and `inside` are
    [T]; not a number where all frames are of one kind.
    """
    high, low = values[inside][:, None], values[~inside][None]
    if high.size == 0 or low.size == 0:
        return float("nan")
    return float((high > low).mean() + (high == low).mean() / 2)


def share_inside(relevance: Floats, inside: NDArray[np.bool_]) -> float:
    """The part of the relevance [T] that falls on frames `inside` [T]; 0 where there is none at all."""
    total = float(relevance.sum())
    return float(relevance[inside].sum()) / total if total > 0 else 0.0
