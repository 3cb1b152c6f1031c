"""Service time never jumps; published times follow the wall clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whycam.service.clock import Clock


class Times:
    """A monotonic clock and a wall clock that a test sets."""

    def __init__(self) -> None:
        self.monotonic, self.wall = 100.0, 1_795_000_000.0

    def clock(self) -> Clock:
        """A clock that reads them."""
        return Clock(lambda: self.monotonic, lambda: self.wall)

    def pass_(self, seconds: float) -> None:
        """Let time pass on both."""
        self.monotonic += seconds
        self.wall += seconds


def test_service_time_begins_with_the_wall_clock_and_does_not_follow_it() -> None:
    times = Times()
    clock = times.clock()
    assert clock.now() == times.wall
    times.pass_(5)
    before = clock.now()
    times.wall -= 3600
    assert clock.now() == before
    assert clock.check() == pytest.approx(-3600)
    assert clock.wall(clock.now()) == pytest.approx(times.wall)
    assert clock.check() is None
    assert clock.jumps == 1


def test_a_clock_that_is_kept_right_slowly_has_not_jumped() -> None:
    times = Times()
    clock = times.clock()
    for _ in range(100):
        times.pass_(10)
        times.wall += 0.5
        assert clock.check() is None
        assert clock.wall(clock.now()) == pytest.approx(times.wall)
    assert clock.jumps == 0


@given(st.lists(st.floats(-1e8, 1e8), max_size=5), st.floats(0, 2e9))
def test_there_and_back_is_the_same_moment(jumps: list[float], moment: float) -> None:
    times = Times()
    clock = times.clock()
    for jump in jumps:
        times.wall += jump
        clock.check()
    assert clock.from_wall(clock.wall(moment)) == pytest.approx(moment, abs=1e-3)
