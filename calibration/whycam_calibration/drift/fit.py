"""From blocks to a baseline: the usual range of each sign, and the limits that chance does not reach."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam.drift import SIGNS, Baseline, Block, novelty

FALSE_ALARM_DAYS = 30.0
"""At most one false report in so many days is to be expected, where all that is normal was in the footage."""
LEAST_RUN_SECONDS = 30.0
"""Blocks beyond the limit, in a row, that are drift last so long at least: what comes and goes is an event."""
LEAST_RUN = 3
MOST_RUN = 20
_FOLDS = 5
_LEAST_DEGREES = 9.0
"""However much blocks depend on each other, they are not taken to be worth less: a limit would lose all meaning."""
_LEAST_FOR_MEAN = 4.0
"""The same for the mean: with less, the spread would be taken to be many times what was seen."""
_EDGES_FLOOR = 0.02
_FEATURES_FLOOR = 1e-3
"""Of the root mean square of the features: rounding, not a scene."""

Matrix = NDArray[np.float32]
Vector = NDArray[np.float64]
_Floor = Callable[[Matrix], float]


@dataclass(frozen=True, eq=False)
class Fit:
    """A baseline, and how it came about."""

    baseline: Baseline
    signs: NDArray[np.float64]
    """[blocks, signs]: those of the blocks that it was made from; view and scene against the other blocks."""
    correlation: Vector
    """[signs]: of neighbouring blocks."""
    worth: Vector
    """[signs]: how many independent blocks tell as much of the spread."""
    alpha: float
    """The probability that chance takes a block beyond a limit."""


def consecutive_of(seconds: float, correlation: float) -> int:
    """So many blocks of `seconds` in a row, beyond a limit, are drift, where neighbours have this `correlation`.

    As many as pass for one independent block: a row that is shorter may be a single thing that came and went.
    """
    slow = min((1 + correlation) / (1 - correlation), MOST_RUN)
    return max(LEAST_RUN, math.ceil(LEAST_RUN_SECONDS / seconds - 1e-9), math.ceil(slow - 1e-9))


def alpha_of(seconds: float, consecutive: int, days: float = FALSE_ALARM_DAYS) -> float:
    """How probable a block beyond a limit may be, for one false report in so many `days` at most.

    Each report takes `consecutive` blocks beyond a limit, so there are at most that many times fewer reports than such
    blocks, whether or not blocks depend on each other.
    """
    return consecutive * seconds / (days * 86400)


def fit(
    runs: Sequence[Sequence[Block]], seconds: float, precision: str, false_alarm_days: float = FALSE_ALARM_DAYS
) -> Fit:
    """The baseline of the blocks of each video, `seconds` long, scored with `precision`.

    A sign's limit is that of the prediction interval for one future observation of a normal population of unknown mean
    and spread, t * sqrt(1 + 1/n) spreads (Hahn and Meeker, Statistical Intervals, 1991; the chart of individuals in
    Montgomery, Introduction to Statistical Quality Control), with the error probability divided among the tails of all
    signs (Bonferroni). Neighbouring blocks resemble each other: n is the effective number of independent observations,
    for the mean and for the variance (Bayley and Hammersley, 1946), by the correlation of neighbours.
    """
    blocks = [block for run in runs for block in run]
    edges = np.stack([block.edges for block in blocks])
    features = np.stack([block.features for block in blocks])
    edges_mean, edges_spread = _usual(edges, _edges_floor)
    features_mean, features_spread = _usual(features, _features_floor)
    signs = np.column_stack(
        [
            np.stack([block.tones for block in blocks]),
            _against_the_others(edges, _edges_floor),
            _against_the_others(features, _features_floor),
            [block.lean for block in blocks],
        ]
    )
    lengths = [len(run) for run in runs]
    correlation = np.array([_correlation(column, lengths) for column in signs.T])
    count = len(blocks)
    for_mean = np.maximum(count * (1 - correlation) / (1 + correlation), _LEAST_FOR_MEAN)
    for_spread = count * (1 - correlation**2) / (1 + correlation**2)
    # A mean that follows its blocks takes a part of their spread with it.
    variance = signs.var(axis=0) * for_mean / (for_mean - 1)
    floors = np.array([sign.floor for sign in SIGNS])
    consecutive = consecutive_of(seconds, float(correlation.max()))
    alpha = alpha_of(seconds, consecutive, false_alarm_days)
    baseline = Baseline(
        seconds=seconds,
        consecutive=consecutive,
        precision=precision,
        mean=signs.mean(axis=0),
        spread=np.maximum(np.sqrt(variance), floors),
        limit=_limits(alpha, for_mean, np.maximum(for_spread - 1, _LEAST_DEGREES)),
        edges_mean=edges_mean,
        edges_spread=edges_spread,
        features_mean=features_mean,
        features_spread=features_spread,
    )
    return Fit(baseline, signs, correlation, for_spread, alpha)


def _limits(alpha: float, for_mean: Vector, degrees: Vector) -> Vector:
    from scipy.stats import t

    tails = sum(1 if sign.less is None else 2 for sign in SIGNS)
    limits: Vector = t.isf(alpha / tails, degrees) * np.sqrt(1 + 1 / for_mean)
    return limits


def _usual(values: Matrix, floor: _Floor) -> tuple[Matrix, Matrix]:
    """Mean and spread [n] of `values` [blocks, n]; no place is taken to be much steadier than most are."""
    spread = np.sqrt(values.var(axis=0, dtype=np.float64) + floor(values) ** 2)
    return values.mean(axis=0, dtype=np.float64).astype(np.float32), spread.astype(np.float32)


def _edges_floor(values: Matrix) -> float:
    return max(2 * float(np.median(values.std(axis=0))), _EDGES_FLOOR)


def _features_floor(values: Matrix) -> float:
    size = math.sqrt(float((values.mean(axis=0, dtype=np.float64) ** 2).mean()))
    return max(float(np.median(values.std(axis=0))), _FEATURES_FLOOR * size, 1e-6)


def _against_the_others(values: Matrix, floor: _Floor) -> Vector:
    """The novelty of each of `values` [blocks, n] by mean and spread of those that are not near it in time.

    By a mean that it is part of, each would look more usual than anything that comes later.
    """
    found = np.zeros(len(values))
    for part in np.array_split(np.arange(len(values)), _FOLDS):
        mean, spread = _usual(np.delete(values, part, axis=0), floor)
        found[part] = novelty(values[part], mean, spread)
    return found


def _correlation(values: Vector, lengths: Sequence[int]) -> float:
    """The correlation of neighbours in time, 0 to 0.95, in runs of these lengths.

    Few values make it look smaller than it is, by (1 + 3 r) / n (Marriott and Pope, 1954).
    """
    centred = values - values.mean()
    power = float((centred**2).mean())
    ends = set(np.cumsum(lengths)[:-1] - 1)
    pairs = [centred[i] * centred[i + 1] for i in range(len(values) - 1) if i not in ends]
    if not pairs or power < 1e-12:
        return 0.0
    found = float(np.mean(pairs)) / power
    return float(np.clip(found + (1 + 3 * found) / len(values), 0.0, 0.95))
