"""What an explanation costs: in milliseconds here, and in frames anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

RUNS = 5
PATIENCE = 1.0
"""Seconds after which no further run of a slow explanation is begun."""


def milliseconds(run: Callable[[], object]) -> float:
    """The median time of a few runs, after one that is not counted: the first opens graphs and fills caches."""
    run()
    taken: list[float] = []
    while len(taken) < RUNS and sum(taken) < PATIENCE:
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return 1000 * median(taken)
