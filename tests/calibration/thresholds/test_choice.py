"""The operating point: as few false alarms as asked for, and as many events detected as that leaves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.calibration.thresholds.timelines import timeline
from whycam_calibration.thresholds.choice import Footage, Point, choose_point, rules_for
from whycam_calibration.thresholds.rates import Rate
from whycam_calibration.thresholds.timeline import Timeline

WINDOW = 0.4


def chosen(normal: list[Timeline], clips: list[Timeline], target: float) -> Point:
    """For 'fight', at so many false alarms per hour."""
    return choose_point(Footage(normal, "fight", 1, 1.0), clips, 1, 1.0, target, WINDOW)


def bursts(random: np.random.Generator, hours: float, per_hour: float) -> Timeline:
    """Normal footage with bursts of 4 s, whose heights are drawn evenly from 0 to 1: at threshold t (1 - t) of them."""
    scores = np.full(int(hours * 36000), 0.02)
    for start in random.choice(len(scores) // 300, int(random.poisson(hours * per_hour)), replace=False):
        scores[start * 300 : start * 300 + 40] = random.random()
    return timeline(scores)


def test_long_footage_gives_the_lowest_threshold_that_keeps_the_target() -> None:
    random = np.random.default_rng(3)
    normal, event = bursts(random, 2, 60), timeline([0.9] * 30, label="fight", clip=True)

    point = chosen([normal], [event], target=10.0)

    assert point.chosen.allowed == 11
    assert point.chosen.rate.alarms == 11
    lower = rules_for(point.chosen.rules.raise_at - 0.05, 0.0, 0.02)
    assert Footage([normal], "fight", 1, 1.0).alarms(lower).alarms > 11


def test_what_is_promised_holds_on_footage_that_is_drawn_anew() -> None:
    """Of a known rate: over many draws of the footage, the true rate at the threshold chosen is hardly ever above."""
    random = np.random.default_rng(7)
    event = timeline([0.9] * 30, label="fight", clip=True)
    true_rates = []
    for _ in range(25):
        point = chosen([bursts(random, 1, 80)], [event], target=12.0)
        true_rates.append(80 * (1 - point.chosen.rules.raise_at))

    assert np.mean(np.array(true_rates) <= 12.0) >= 0.9
    assert np.median(true_rates) > 4


def test_short_footage_gets_a_margin_above_the_highest_score() -> None:
    point = chosen([timeline([0.1] * 100 + [0.8] * 40 + [0.1] * 100)], [], target=1.0)

    assert point.chosen.allowed is None
    assert point.chosen.rules.raise_at == pytest.approx(1 / (1 + np.exp(-(np.log(4) + 1))), abs=1e-4)
    assert point.chosen.rate == Rate(0, 24 / 3600)


def test_quiet_footage_that_is_short_gives_a_half_and_no_less() -> None:
    assert chosen([timeline([0.01] * 100)], [], target=1.0).chosen.rules.raise_at == 0.5


def test_quiet_footage_that_is_long_lets_weak_events_count() -> None:
    normal, weak = timeline([0.01] * 18_000), timeline([0.02] * 10 + [0.3] * 20, label="fight", clip=True)

    seen, unseen = chosen([normal], [weak], target=10.0), chosen([normal], [], target=10.0)

    assert seen.chosen.rules.raise_at == 0.05
    assert seen.chosen.detection is not None
    assert seen.chosen.detection.rate == 1
    assert unseen.chosen.rules.raise_at == 0.5


def test_an_alarm_that_never_ends_is_not_taken_for_a_single_one() -> None:
    """Counted as episodes it is one; nobody would have it."""
    normal, event = timeline([0.8] * 9000 + [0.1] * 9000), timeline([0.9] * 30, label="fight", clip=True)

    point = chosen([normal], [event], target=100.0)

    assert Footage([normal], "fight", 1, 1.0).alarms(rules_for(0.5, 0.0, 0.1)).alarms == 1
    assert point.chosen.rules.raise_at > 0.8
    assert point.chosen.rate.alarms == 0


def test_footage_that_scores_one_cannot_be_kept_from_alarming() -> None:
    point = chosen([timeline([0.0] * 50 + [1.0] * 50)], [], target=1.0)

    assert not point.chosen.kept
    assert point.chosen.rules.raise_at == 1.0


def test_the_minimum_duration_is_the_one_that_detects_most() -> None:
    """Normal footage has short high scores, events have long middling ones: only waiting tells them apart."""
    normal = timeline(([0.05] * 300 + [0.99] * 3) * 20)
    events = [timeline([0.1] * 10 + [0.7] * 40, label="fight", clip=True) for _ in range(3)]

    point = chosen([normal], events, target=1.0)

    assert {trial.rules.minimum_seconds: trial.detection.rate for trial in point.tried if trial.detection} == {
        0.0: 0.0,
        0.5: 1.0,
        1.0: 1.0,
        2.0: 1.0,
        3.0: 1.0,
    }
    assert point.chosen.rules.minimum_seconds == 0.5
    assert point.chosen.rules.raise_at == 0.5


def test_one_high_score_raises_at_once_only_where_the_footage_is_long() -> None:
    event = timeline([0.9] * 30, label="fight", clip=True)

    short, long = chosen([timeline([0.1] * 100)], [event], 10.0), chosen([timeline([0.1] * 18_000)], [event], 10.0)

    assert (short.chosen.rules.minimum_seconds, long.chosen.rules.minimum_seconds) == (0.5, 0.0)


def test_without_a_clip_of_the_class_the_minimum_duration_is_the_default() -> None:
    point = chosen([timeline([0.1] * 100)], [], target=1.0)

    assert point.chosen.detection is None
    assert [trial.rules.minimum_seconds for trial in point.tried] == [0.5]


@pytest.mark.parametrize(("quiet", "clear"), [(0.1, 0.4), (0.5, 0.5), (0.79, 0.76)])
def test_an_episode_ends_where_normal_footage_is_most_of_the_time(quiet: float, clear: float) -> None:
    assert rules_for(0.8, 0.5, quiet).clear_at == pytest.approx(clear)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.02, 0.1, 0.3, 0.55, 0.6, 0.8, 0.9, 0.99]), min_size=1, max_size=60),
    st.sampled_from([30.0, 300.0, 3000.0, 30000.0]),
)
def test_no_more_alarms_are_raised_than_allowed(scores: list[float], target: float) -> None:
    normal = [timeline(np.repeat(scores, 7))]
    events = [timeline([0.5] * 30, label="fight", clip=True)]

    point = chosen(normal, events, target)

    for trial in point.tried:
        assert trial.rate.alarms <= (trial.allowed or 0)
        assert trial.rate == Footage(normal, "fight", 1, 1.0).alarms(trial.rules)
