"""How alike two heat maps are: by the order of their cells, and by their structure."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's rank correlation of two maps [h, w], -1 to 1; ties share their mean rank.

    0 where one of the maps is the same everywhere, which has no order to compare; not a number where both are.
    """
    a, b = (_ranks(each.ravel()) for each in (one, other))
    a, b = a - a.mean(), b - b.mean()
    flat = [not each.any() for each in (a, b)]
    if all(flat):
        return float("nan")
    return 0.0 if any(flat) else float(a @ b / np.sqrt((a @ a) * (b @ b)))


def structural_similarity(one: Floats, other: Floats) -> float:
    """SSIM (Wang et al. 2004, eq. 13) of two maps [h, w], each scaled to 0..1, in a Gaussian window of 1.5 cells."""
    a, b = (_scaled(each) for each in (one, other))
    mean_a, mean_b = _smooth(a), _smooth(b)
    variance_a, variance_b = _smooth(a * a) - mean_a**2, _smooth(b * b) - mean_b**2
    covariance = _smooth(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    return float((luminance * structure).mean())


def _ranks(values: Floats) -> NDArray[np.float64]:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank: NDArray[np.float64] = (last - (counts - 1) / 2)[group]
    return mean_rank


def _scaled(values: Floats) -> NDArray[np.float64]:
    top = float(np.abs(values).max())
    return np.abs(values).astype(np.float64) / (top if top > 0 else 1.0)


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), _SIGMA, borderType=cv2.BORDER_REFLECT), np.float64)
