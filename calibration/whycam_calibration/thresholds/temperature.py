"""Temperature scaling (Guo et al. 2017, section 4.2): one number that makes scores as sure as they are right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from whycam.detect.temperature import tempered
from whycam_calibration.thresholds.calibration_error import Bin, expected_calibration_error, reliability
from whycam_calibration.thresholds.examples import Examples

LOWEST, HIGHEST = 0.05, 20.0
"""Where the best lies at one of these, the clips do not determine it."""
FOLDS = 5


@dataclass(frozen=True)
class Measured:
    """Scores on windows from sources that their temperature was not fitted on."""

    loss: float
    """Mean negative log likelihood."""
    error: float
    """Expected calibration error."""
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class Temperature:
    """What the logits are to be divided by, and what that is worth."""

    value: float
    fitted: float | None
    """The best on all clips; None where it was not fitted."""
    reason: str | None
    """Why `value` is not the fitted one."""
    windows: int = 0
    clips: int = 0
    sources: int = 0
    folds: int = 0
    before: Measured | None = None
    after: Measured | None = None


def negative_log_likelihood(
    logits: NDArray[np.float32], labels: NDArray[np.intp], weights: NDArray[np.float64], temperature: float
) -> float:
    """Mean over windows by `weights` [n], in nats; `logits` [n, K], `labels` [n]."""
    logs = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    return float(-(weights * logs[np.arange(len(labels)), labels]).sum() / weights.sum())


def fit(logits: NDArray[np.float32], labels: NDArray[np.intp], weights: NDArray[np.float64]) -> float:
    """The temperature of the least negative log likelihood, from `LOWEST` to `HIGHEST`."""
    found = minimize_scalar(
        lambda log: negative_log_likelihood(logits, labels, weights, float(np.exp(log))),
        bounds=(np.log(LOWEST), np.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))


def calibrated_temperature(examples: Examples | None, present: float) -> Temperature:
    """Fit on all of `examples`, and measure by folds of sources, so that no window tells its own temperature.

    It stays 1 where it does not make unseen sources likelier, and `present`, the bundle's, where it cannot be fitted.
    """
    if examples is None:
        return Temperature(present, None, "there are no labelled clips of an anomalous class")
    counts = len(examples), len(np.unique(examples.clips)), len(np.unique(examples.sources))
    if len(np.unique(examples.labels)) < 2:
        return Temperature(present, None, "all labelled windows are of one class", *counts)
    folds = min(FOLDS, counts[2])
    if folds < 2:
        return Temperature(present, None, "all labelled clips are from one source, none is left to try it on", *counts)
    fitted = fit(examples.logits, examples.labels, examples.weights)
    before, after = _measured(examples, None), _measured(examples, folds)
    reason = None
    if fitted < 1 and (examples.logits.argmax(axis=1) == examples.labels).all():
        reason = "all labelled windows are right, so that the lower it was the better it would look"
    elif not LOWEST * 1.01 < fitted < HIGHEST / 1.01:
        reason = "the clips do not determine it"
    elif after.loss >= before.loss:
        reason = "it made sources that it was not fitted on no likelier"
    # Digits that mean nothing would only look like knowledge.
    value = 1.0 if reason else round(fitted, 4)
    return Temperature(value, fitted, reason, *counts, folds, before, after)


def _measured(examples: Examples, folds: int | None) -> Measured:
    """At a temperature of 1, or at that of each fold's other sources."""
    from sklearn.model_selection import GroupKFold

    temperatures = np.ones(len(examples))
    if folds is not None:
        for others, fold in GroupKFold(folds).split(examples.labels, groups=examples.sources):
            known = examples.pick(others)
            temperatures[fold] = fit(known.logits, known.labels, known.weights)
    scores = np.stack(
        [
            tempered(logits, own, float(temperature))
            for logits, own, temperature in zip(examples.logits, examples.own_scores, temperatures, strict=True)
        ]
    ).astype(np.float64)
    scaled = examples.logits.astype(np.float64) / temperatures[:, np.newaxis]
    loss = negative_log_likelihood(scaled.astype(np.float32), examples.labels, examples.weights, 1.0)
    bins = reliability(scores, examples.labels, examples.weights)
    return Measured(loss, expected_calibration_error(bins), tuple(bins))
