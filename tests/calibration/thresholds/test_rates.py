"""False alarms per hour, and what a count of them allows to promise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whycam_calibration.thresholds.rates import Rate, hours_to_promise, most_alarms


@pytest.mark.parametrize(
    ("alarms", "low", "high"),
    # Garwood (1936), table of 95 % limits; also Ulm (1990).
    [
        (0, 0, 3.689),
        (1, 0.025, 5.572),
        (2, 0.242, 7.225),
        (5, 1.623, 11.668),
        (10, 4.795, 18.390),
        (100, 81.36, 121.63),
    ],
)
def test_the_interval_is_the_exact_one(alarms: int, low: float, high: float) -> None:
    assert Rate(alarms, 1.0).interval == pytest.approx((low, high), abs=0.006)
    assert Rate(alarms, 10.0).interval == pytest.approx((low / 10, high / 10), abs=0.001)


def test_without_hours_nothing_is_known() -> None:
    assert Rate(0, 0.0).interval == (0.0, float("inf"))
    assert not Rate(0, 0.0).promises(1000)
    assert not Rate(0, 0.0).breaks(1e-9)


def test_one_a_day_takes_more_than_three_days_without_an_alarm() -> None:
    needed = hours_to_promise(1 / 24)

    assert needed == pytest.approx(88.5, abs=0.1)
    assert Rate(0, needed + 0.01).promises(1 / 24)
    assert not Rate(0, needed - 0.01).promises(1 / 24)


@given(st.floats(0.001, 100), st.floats(0.01, 1000))
def test_the_most_alarms_still_promise_and_one_more_does_not(target: float, hours: float) -> None:
    most = most_alarms(target, hours)

    if most is None:
        assert not Rate(0, hours).promises(target)
    else:
        assert Rate(most, hours).promises(target)
        assert not Rate(most + 1, hours).promises(target)
