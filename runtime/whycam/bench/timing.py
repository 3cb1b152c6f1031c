"""Times that can be compared: each work in turn, round after round, so that what slows the machine slows them all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)

Work = Callable[[], float]
"""Does something, and gives the seconds that one unit of it took."""
Show = Callable[[str, int, int], None]
"""Is told of progress: what, how many are done, of how many."""

_LEAST_SECONDS = 0.01
"""Quick works are repeated for so long: a clock's ticks and a call's cost do not count then."""
_PAUSE = 0.03
"""Seconds between two works: the threads of the last one spin for a while before they sleep."""


@dataclass(frozen=True)
class Spread:
    """Seconds, over the rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """The spread of at least one time."""
        return cls(statistics.median(seconds), min(seconds), max(seconds))


def repeated(act: Callable[[], object], units: int = 1) -> Work:
    """`act`, which does `units` at once, as often as it takes to be timed well."""
    times = 0

    def work() -> float:
        nonlocal times
        if not times:
            act()  # The first run allocates.
            start = time.perf_counter()
            act()
            times = max(1, round(_LEAST_SECONDS / max(time.perf_counter() - start, 1e-7)))
        start = time.perf_counter()
        for _ in range(times):
            act()
        return (time.perf_counter() - start) / times / units

    return work


def interleaved(works: Mapping[Name, Work], rounds: int, show: Show, what: str) -> dict[Name, Spread]:
    """The spread of each work's seconds over `rounds`; a round before them warms up and does not count."""
    seconds: dict[Name, list[float]] = {name: [] for name in works}
    for done in range(rounds + 1):
        show(what, done, rounds + 1)
        for name, work in works.items():
            time.sleep(_PAUSE)
            seconds[name].append(work())
    show(what, rounds + 1, rounds + 1)
    return {name: Spread.of(found[1:]) for name, found in seconds.items()}
