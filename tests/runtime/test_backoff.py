"""How long the next attempt is waited for."""

from __future__ import annotations

from random import Random

from whycam.backoff import FIRST_SECONDS, MOST_SECONDS, Backoff


def test_it_grows_to_a_bound_and_begins_anew() -> None:
    backoff = Backoff(Random(1))
    waits = [backoff.next() for _ in range(100)]
    assert 0.75 * FIRST_SECONDS <= waits[0] <= 1.25 * FIRST_SECONDS
    assert all(wait <= 1.25 * MOST_SECONDS for wait in waits)
    assert min(waits[10:]) >= 0.75 * MOST_SECONDS
    backoff.reset()
    assert backoff.next() <= 1.25 * FIRST_SECONDS


def test_no_two_cameras_come_back_in_step() -> None:
    first, second = Backoff(Random(1)), Backoff(Random(2))
    waits = [(first.next(), second.next()) for _ in range(20)]
    assert all(one != other for one, other in waits)
    assert len({round(one, 3) for one, _ in waits}) > 15
