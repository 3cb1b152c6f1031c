"""The gate: how far a precision is from fp32 on windows that it was not made from, and whether that is near enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.seen import Seen

TOP = 0.1
"""The part of fp32's map, its hottest, in which the other's hottest point should lie."""


@dataclass(frozen=True)
class Limits:
    """How far a precision may be from fp32."""

    max_score_drift: float = 0.05
    min_agreement: float = 0.99
    min_heatmap_correlation: float = 0.98

    def __post_init__(self) -> None:
        """Raise CalibrationError where a limit is not a share."""
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise CalibrationError(f"--{name.replace('_', '-')} {value:g}: give a number from 0 to 1")


@dataclass(frozen=True)
class Figures:
    """How far a precision is from fp32; the names are the manifest's."""

    windows: int
    score_drift: float
    score_drift_max: float
    agreement: float
    flipped: int
    heatmap_correlation: float | None
    heatmap_peak: float | None

    def beyond(self, limits: Limits) -> list[str]:
        """What is outside `limits`, in words; nothing where the gate holds."""
        found = []
        if self.score_drift > limits.max_score_drift:
            found.append(f"scores drift by {self.score_drift:.3f} (at most {limits.max_score_drift:g})")
        if self.agreement < limits.min_agreement:
            found.append(f"labels agree in {self.agreement:.1%} (at least {limits.min_agreement:.1%})")
        correlation = self.heatmap_correlation
        if correlation is not None and correlation < limits.min_heatmap_correlation:
            found.append(f"heat maps correlate by {correlation:.3f} (at least {limits.min_heatmap_correlation:g})")
        return found


def compare(reference: Seen, other: Seen, manifest: Manifest) -> Figures:
    """How far `other` is from `reference`, what fp32 makes of the same windows."""
    drift = np.abs(reference.scores - other.scores).max(axis=1)
    # A broken network may give no numbers at all; no limit is met then.
    drift = np.where(np.isfinite(drift), drift, 1.0)
    correlations = correlate(reference.heatmaps, other.heatmaps)
    return Figures(
        windows=len(drift),
        score_drift=float(np.percentile(drift, 95)),
        score_drift_max=float(drift.max()),
        agreement=float((reference.scores.argmax(axis=1) == other.scores.argmax(axis=1)).mean()),
        flipped=int((_alerts(reference, manifest) != _alerts(other, manifest)).sum()),
        heatmap_correlation=float(np.median(correlations)) if len(correlations) else None,
        heatmap_peak=_peak_share(reference.heatmaps, other.heatmaps),
    )


def correlate(reference: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Pearson's correlation of each frame's heat map [..., h, w] with fp32's.

    Frames without heat in both are left out: they say the same. One without heat where the other has some counts 0.
    """
    a, b = _flat(reference), _flat(other)
    there = (a.max(axis=1) > a.min(axis=1)) | (b.max(axis=1) > b.min(axis=1)) if len(a) else np.zeros(0, bool)
    a, b = a[there], b[there]
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    norms = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where(norms > 0, (a * b).sum(axis=1) / np.where(norms > 0, norms, 1), 0.0)


def _peak_share(reference: NDArray[np.float32], other: NDArray[np.float32]) -> float | None:
    a, b = _flat(reference), _flat(other)
    if not len(a):
        return None
    hot = a.max(axis=1) > 0
    if not hot.any():
        return None
    a, b = a[hot], b[hot]
    count = max(1, int(np.ceil(TOP * a.shape[1])))
    least = np.partition(a, -count, axis=1)[:, -count]
    return float((a[np.arange(len(a)), b.argmax(axis=1)] >= least).mean())


def _flat(heatmaps: NDArray[np.float32]) -> NDArray[np.float64]:
    flat = heatmaps.reshape(-1, heatmaps.shape[-2] * heatmaps.shape[-1]).astype(np.float64)
    return np.where(np.isfinite(flat), flat, 0.0)


def _alerts(seen: Seen, manifest: Manifest) -> NDArray[np.bool_]:
    """Whether each window alerts, [W]."""
    places = [manifest.classes.index(name) for name in manifest.anomalies]
    thresholds = np.array([manifest.thresholds[name] for name in manifest.anomalies], np.float32)
    return np.asarray((seen.scores[:, places] >= thresholds).any(axis=1))
