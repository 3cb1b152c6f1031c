"""How far scores are from being right as often as they say: reliability, and the expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15


@dataclass(frozen=True)
class Bin:
    """The windows whose highest score lies in one of the bins of equal width."""

    weight: float
    """Their part of the weight of all."""
    confidence: float
    """Their mean highest score."""
    accuracy: float
    """How many of them have the right label, by weight."""
    windows: int


def reliability(
    scores: NDArray[np.float64], labels: NDArray[np.intp], weights: NDArray[np.float64], bins: int = BINS
) -> list[Bin]:
    """The bins that hold windows, from the lowest; `scores` [n, K], `labels` [n], `weights` [n]."""
    confidence = scores.max(axis=1)
    right = scores.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    total = weights.sum()
    found = []
    for number in np.unique(place):
        here = place == number
        weight = weights[here].sum()
        found.append(
            Bin(
                float(weight / total),
                float((weights[here] * confidence[here]).sum() / weight),
                float((weights[here] * right[here]).sum() / weight),
                int(here.sum()),
            )
        )
    return found


def expected_calibration_error(bins: list[Bin]) -> float:
    """The mean distance of accuracy from confidence, by weight (Naeini et al. 2015; Guo et al. 2017, eq. 3)."""
    return sum(one.weight * abs(one.accuracy - one.confidence) for one in bins)
