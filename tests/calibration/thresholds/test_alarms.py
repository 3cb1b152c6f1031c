"""Alarms are counted as the service raises them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from whycam.alerts.episodes import AlertTracker, EpisodeRules
from whycam.detect import Decision
from whycam_calibration.thresholds.alarms import Alarm, alarms_of
from whycam_calibration.thresholds.choice import rules_for
from whycam_calibration.thresholds.levels import above, levels, peaks, with_margin

COLD = float("nan")
RULES = EpisodeRules(0.7, 0.5, 0.3, 0.4, 0.6, 5, 0.5)
SCORES = st.sampled_from([0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.95, 1.0, COLD])
STEPS = st.sampled_from([0.1, 0.1, 0.1, 0.13, 0.3, 1.0])


def pushed_one_by_one(times: np.ndarray, scores: dict, rules: dict) -> list[Alarm]:
    """What the service makes of these decisions: all of them, and the time that passes."""
    tracker = AlertTracker(rules)
    made = {}
    for index, time in enumerate(times):
        now = {name: float(scores[name][index]) for name in rules}
        warm = not any(np.isnan(score) for score in now.values())
        for event in [*tracker.push(Decision(float(time), now, None, warm, False)), *tracker.tick(float(time))]:
            episode = event.episode
            ended = episode.last_above if event.phase == "cleared" else None
            made[episode.id] = Alarm(episode.label, episode.onset, episode.raised_at, ended)
    return list(made.values())


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(STEPS, SCORES, SCORES), max_size=80), st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 0.6])
)
def test_they_are_those_of_the_tracker_that_sees_every_decision(
    decisions: list, minimum_seconds: float, cool_down: float
) -> None:
    times = np.cumsum([step for step, _, _ in decisions])
    cold = np.array([np.isnan(one) or np.isnan(two) for _, one, two in decisions], bool)
    scores = {
        "fight": np.where(cold, np.nan, [one for _, one, _ in decisions]),
        "fire": np.where(cold, np.nan, [two for _, _, two in decisions]),
    }
    rules = {
        "fight": replace(RULES, minimum_seconds=minimum_seconds, cool_down_seconds=cool_down),
        "fire": replace(RULES, raise_at=0.6, clear_at=0.6),
    }

    assert alarms_of(times, scores, rules) == pushed_one_by_one(times, scores, rules)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(STEPS, SCORES), min_size=1, max_size=60), st.sampled_from([0.0, 0.25, 0.3, 1.0]))
def test_a_level_is_just_what_still_raises(decisions: list, seconds: float) -> None:
    times = np.cumsum([step for step, _ in decisions])
    scores = {"fight": np.array([score for _, score in decisions])}
    highest = levels(times, scores["fight"], seconds).max()

    if highest > 0:
        assert alarms_of(times, scores, {"fight": rules_for(highest, seconds, 0.0)})
    threshold = above(highest)
    if threshold is not None:
        assert not alarms_of(times, scores, {"fight": rules_for(threshold, seconds, 0.0)})


def test_peaks_are_the_local_maxima_and_of_a_plateau_one() -> None:
    assert peaks(np.array([0.2, 0.5, 0.1, 0.7, 0.7, 0.3, -1, 0.4])).tolist() == [0.5, 0.7, 0.4]
    assert peaks(np.array([-1.0, -1.0])).tolist() == []
    assert peaks(levels(np.empty(0), np.empty(0), 1.0)).tolist() == []


def test_a_threshold_lies_above_the_score_and_its_margin_above_the_threshold() -> None:
    assert above(0.25) == 0.250001
    assert above(0.9999999) == 1.0
    assert above(1.0) is None
    assert with_margin(0.5, 1.0) == 0.731059
    assert with_margin(1.0, 1.0) == 1.0
