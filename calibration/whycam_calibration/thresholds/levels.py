"""Where thresholds can lie: the scores that footage has held for as long as an alert must hold."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DIGITS = 6
_STEPS = float(10**DIGITS)
_NONE = -1.0


def levels(times: Floats, scores: Floats, seconds: float) -> Floats:
    """[n]: the highest threshold that has been held for `seconds` at each decision; -1 where the run is too short.

    `times` and `scores` are [n], NaN where cold: cold decisions break a run.
    """
    if not len(times):
        return np.empty(0)
    # The microsecond is that of the rule itself: AlertTracker.
    first = np.searchsorted(times, times - seconds + 1e-6, side="right") - 1
    last = np.arange(len(times))
    table = [np.where(np.isnan(scores), _NONE, scores)]
    width = last - first + 1
    for power in range(int(width.max()).bit_length() - 1):
        below, reach = table[-1], 2**power
        table.append(np.concatenate([np.minimum(below[:-reach], below[reach:]), below[len(below) - reach :]]))
    found = np.full(len(times), _NONE)
    power = np.floor(np.log2(np.maximum(width, 1))).astype(int)
    for number, row in enumerate(table):
        here = (power == number) & (first >= 0)
        found[here] = np.minimum(row[first[here]], row[last[here] - 2**number + 1])
    return found


def peaks(found: Floats) -> Floats:
    """The local maxima of levels [n], of a plateau one; those that are no level are left out."""
    around = np.concatenate([[-np.inf], found, [-np.inf]])
    highest = (found > around[:-2]) & (found >= around[2:])
    return found[highest & (found > _NONE)]


def above(score: float) -> float | None:
    """The lowest threshold of `DIGITS` digits that `score` does not reach; None where there is none up to 1."""
    found = (math.floor(score * _STEPS) + 1) / _STEPS
    return found if found <= 1 else None


def with_margin(threshold: float, log_odds: float) -> float:
    """A threshold whose log odds are higher by so much, at most 1."""
    if threshold >= 1:
        return 1.0
    odds = math.log(threshold / (1 - threshold)) + log_odds
    return min(1.0, math.ceil(_STEPS / (1 + math.exp(-odds))) / _STEPS)
