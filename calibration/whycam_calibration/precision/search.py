"""The search of `auto`: how few of the layers must stay in higher precision for the gate to hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

MOST = 0.5
"""The part of the layers that may stay in higher precision; with more of them there is little left to gain."""


def search(order: Sequence[str], holds: Callable[[frozenset[str]], bool]) -> frozenset[str] | None:
    """The first layers of `order`, as few as the gate holds with; None where it does not even with `MOST` of them.

    Args:
        order: nodes, those that hurt most first.
        holds: whether the gate holds where these stay in higher precision.

    The number is doubled until the gate holds, then bisected between the last that failed and the first that held.
    """
    most = max(1, int(MOST * len(order)))
    failed, count = -1, 0
    while not holds(frozenset(order[:count])):
        if count == most:
            return None
        failed, count = count, min(most, max(1, 2 * count))
    while count - failed > 1:
        middle = (failed + count) // 2
        if holds(frozenset(order[:middle])):
            count = middle
        else:
            failed = middle
    return frozenset(order[:count])
