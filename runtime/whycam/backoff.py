"""How long to wait before the next attempt."""

from __future__ import annotations

import random

FIRST_SECONDS = 0.5
MOST_SECONDS = 5.0
_JITTER = 0.25


class Backoff:
    """Doubles from FIRST_SECONDS to MOST_SECONDS, each a quarter shorter or longer by chance.

    The jitter keeps cameras that went together, at a power cut or a switch's restart, from coming back together, and
    all devices of a site from knocking at the same moment after the broker's restart.
    """

    def __init__(self, chance: random.Random | None = None) -> None:
        """At its first attempt."""
        self._chance = chance or random.Random()
        self._attempts = 0

    def next(self) -> float:
        """Seconds until the next attempt."""
        seconds = min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(self._attempts, 16))
        self._attempts += 1
        return seconds * self._chance.uniform(1 - _JITTER, 1 + _JITTER)

    def reset(self) -> None:
        """The last attempt has held: begin anew."""
        self._attempts = 0
