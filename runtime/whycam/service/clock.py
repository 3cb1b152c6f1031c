"""The service's clock: it never jumps, and knows how far the wall clock has."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

JUMP_SECONDS = 1.0
"""A smaller step is left to what keeps the wall clock right, which moves it slowly."""


class Clock:
    """Service time: the seconds since the epoch when the service began, and monotonic since then.

    A wall clock that is set, forward or back, changes neither the order of frames nor how long anything lasted; only
    the times that are published follow it.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        """A clock that begins at the wall clock's time."""
        self._monotonic = monotonic
        self._wall = wall
        self._start = wall() - monotonic()
        self._offset = 0.0
        self.jumps = 0

    def now(self) -> float:
        """Service time, seconds."""
        return self._start + self._monotonic()

    def wall(self, moment: float) -> float:
        """Seconds since the epoch of the service time `moment`, by the wall clock as it is set now."""
        return moment + self._offset

    def from_wall(self, moment: float) -> float:
        """The service time of `moment`, seconds since the epoch by the wall clock as it is set now."""
        return moment - self._offset

    def check(self) -> float | None:
        """Follow the wall clock; the seconds by which it was found to have jumped, else None."""
        difference = self._wall() - self.wall(self.now())
        self._offset += difference
        if abs(difference) <= JUMP_SECONDS:
            return None
        self.jumps += 1
        log.warning(
            "the wall clock was set by %+.1f s: published times follow it, windows and durations do not", difference
        )
        return difference
