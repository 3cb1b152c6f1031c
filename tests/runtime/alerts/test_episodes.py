"""From scores to episodes: when one is raised, goes on, and ends."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whycam.alerts.episodes import PEAK_STEP, AlertEvent, AlertTracker, Episode, EpisodeRules
from whycam.detect import Decision

STEP = 0.25
"""Seconds between decisions: exact in binary, so that limits are hit exactly."""
RULES = EpisodeRules(
    raise_at=0.7,
    clear_at=0.5,
    minimum_seconds=0.5,
    merge_seconds=1.0,
    cool_down_seconds=2.0,
    update_seconds=10.0,
    signal_lost_seconds=5.0,
)
HIGH, MIDDLE, LOW = 0.9, 0.6, 0.1


def decision(time: float, *, warm: bool = True, **scores: float) -> Decision:
    """What the detector says at `time`."""
    return Decision(time, scores if warm else dict.fromkeys(scores, math.nan), None, warm, alert=False)


def played(tracker: AlertTracker, scores: Iterable[float | None], start: float = 0.0) -> list[AlertEvent]:
    """The events of scores of 'fight', a decision each STEP; None is a cold one."""
    events = []
    for place, score in enumerate(scores):
        events += tracker.push(decision(start + place * STEP, warm=score is not None, fight=score or 0.0))
    return events


def told(events: Iterable[AlertEvent]) -> list[tuple[str, float, str]]:
    """Phase, time and reason of each."""
    return [(event.phase, event.time, event.reason) for event in events]


def tracker_of(**changes: float) -> AlertTracker:
    """A tracker of 'fight'."""
    return AlertTracker({"fight": replace(RULES, **changes)})


def test_scores_that_are_no_numbers_are_as_a_cold_window() -> None:
    """A model that gives no numbers says nothing: it neither raises nor clears, and no run goes on across it."""
    for held, expected in (([HIGH, math.nan, HIGH, HIGH], []), ([HIGH, HIGH, math.nan, HIGH, HIGH, HIGH], [1.25])):
        tracker = tracker_of()
        assert [event.time for event in played(tracker, held)] == expected
    tracker = tracker_of(minimum_seconds=0)
    (raised,) = played(tracker, [HIGH])
    assert played(tracker, [math.nan, math.inf, -math.inf] * 4, start=STEP) == []
    assert tracker.open == (raised.episode,)
    assert told(tracker.tick(6.0)) == [("cleared", 6.0, "signal-lost")]


def test_a_class_without_a_number_silences_the_others() -> None:
    tracker = AlertTracker({"fight": replace(RULES, minimum_seconds=0), "fire": RULES})
    assert tracker.push(decision(0.0, fight=HIGH, fire=math.nan)) == []
    (event,) = tracker.push(decision(STEP, fight=HIGH, fire=LOW))
    assert (event.phase, event.episode.label) == ("raised", "fight")


# -- raising --


def test_it_is_raised_when_the_threshold_was_held_for_long_enough() -> None:
    (event,) = played(tracker_of(), [LOW, 0.7, 0.8, HIGH])
    assert told([event]) == [("raised", 0.75, "threshold")]
    assert (event.episode.onset, event.episode.raised_at, event.episode.sequence) == (0.25, 0.75, 0)
    assert (event.episode.peak, event.episode.peak_time, event.episode.threshold) == (HIGH, 0.75, 0.7)
    assert uuid.UUID(event.episode.id).version == 7


def test_the_peak_may_lie_before_the_raise() -> None:
    (event,) = played(tracker_of(), [0.99, 0.8, 0.7])
    assert (event.episode.peak, event.episode.peak_time, event.episode.score) == (0.99, 0.0, 0.7)


@pytest.mark.parametrize("between", [0.69, LOW, None], ids=["just below", "low", "cold"])
def test_a_run_that_is_broken_begins_anew(between: float | None) -> None:
    assert played(tracker_of(), [HIGH, HIGH, between] * 10) == []


def test_no_minimum_raises_at_once() -> None:
    assert told(played(tracker_of(minimum_seconds=0), [LOW, 0.7])) == [("raised", 0.25, "threshold")]


def test_classes_have_episodes_of_their_own() -> None:
    tracker = AlertTracker({"fight": RULES, "fire": replace(RULES, raise_at=0.95)})
    events = []
    for place in range(4):
        events += tracker.push(decision(place * STEP, fight=HIGH, fire=0.96 if place else LOW))
    assert [(event.phase, event.episode.label, event.time) for event in events] == [
        ("raised", "fight", 0.5),
        ("raised", "fire", 0.75),
    ]
    assert len({event.episode.id for event in events}) == len(tracker.open) == 2


# -- going on --


def test_it_ends_when_the_score_was_low_for_long_enough() -> None:
    events = played(tracker_of(), [HIGH] * 4 + [LOW] * 5)
    assert told(events) == [("raised", 0.5, "threshold"), ("cleared", 1.75, "below-threshold")]
    raised, cleared = (event.episode for event in events)
    assert (cleared.id, cleared.sequence, cleared.last_above) == (raised.id, 1, 0.75)


def test_a_short_dip_is_merged() -> None:
    tracker = tracker_of()
    events = played(tracker, ([HIGH] * 3 + [LOW] * 3) * 8)
    assert [event.phase for event in events if event.phase != "updated"] == ["raised"]
    assert len(tracker.open) == 1


def test_between_the_two_thresholds_it_goes_on_and_does_not_begin() -> None:
    assert played(tracker_of(), [MIDDLE] * 40) == []
    tracker = tracker_of(update_seconds=1000)
    assert told(played(tracker, [HIGH] * 3 + [MIDDLE] * 40)) == [("raised", 0.5, "threshold")]
    assert tracker.open[0].score == MIDDLE


def test_cold_decisions_do_not_clear() -> None:
    tracker = tracker_of()
    events = played(tracker, [HIGH] * 3 + [None] * 16 + [HIGH])
    assert told(events) == [("raised", 0.5, "threshold")]


def test_it_is_told_from_time_to_time() -> None:
    events = played(tracker_of(update_seconds=2.0), [HIGH] * 21)
    assert told(events[1:]) == [("updated", 2.5, "interval"), ("updated", 4.5, "interval")]
    assert [event.episode.sequence for event in events] == [0, 1, 2]


def test_a_peak_that_grows_is_told_but_not_too_often() -> None:
    events = played(tracker_of(), [0.7, 0.7, 0.7, 0.76, 0.82, 0.88, 0.94, 0.95, 0.96, 0.96, 0.96])
    assert told(events[1:]) == [("updated", 1.5, "peak")]
    assert (events[1].episode.peak, events[1].episode.peak_time) == (0.94, 1.5)


def test_it_can_be_told_once_more() -> None:
    tracker = tracker_of()
    (raised,) = played(tracker, [HIGH] * 3)
    (again,) = tracker.restate(raised.episode.id, 0.6, "explanation")
    assert (again.phase, again.reason, again.episode.sequence) == ("updated", "explanation", 1)
    assert tracker.restate("another", 0.7, "explanation") == []


# -- after it --


def test_a_run_within_the_cool_down_is_held_back() -> None:
    tracker = tracker_of()
    events = played(tracker, [HIGH] * 3 + [LOW] * 4 + [HIGH] * 4 + [LOW] * 20)
    assert [event.phase for event in events] == ["raised", "cleared"]
    assert tracker.suppressed == 1


def test_a_run_that_turns_cold_within_the_cool_down_is_counted_once() -> None:
    tracker = tracker_of()
    played(tracker, [HIGH] * 3 + [LOW] * 4 + [HIGH] * 4 + [None] + [LOW] * 20 + [HIGH, LOW])
    assert tracker.suppressed == 1


def test_a_run_that_outlasts_the_cool_down_is_raised_at_its_end() -> None:
    tracker = tracker_of()
    events = played(tracker, [HIGH] * 3 + [LOW] * 4 + [HIGH] * 12)
    assert told(events[1:]) == [("cleared", 1.5, "below-threshold"), ("raised", 3.5, "threshold")]
    assert events[2].episode.onset == 1.75
    assert events[2].episode.id != events[0].episode.id
    assert tracker.suppressed == 0


# -- without decisions --


def test_an_episode_of_which_nothing_is_seen_is_cleared() -> None:
    tracker = tracker_of()
    played(tracker, [HIGH] * 3)
    assert tracker.tick(5.5) == []
    (event,) = tracker.tick(5.75)
    assert (event.phase, event.reason, event.episode.last_above) == ("cleared", "signal-lost", 0.5)
    assert tracker.tick(100) == []


def test_cold_decisions_are_nothing_seen() -> None:
    tracker = tracker_of()
    played(tracker, [HIGH] * 3 + [None] * 30)
    assert [event.reason for event in tracker.tick(5.75)] == ["signal-lost"]


def test_closing_clears_all_and_forgets_what_had_begun() -> None:
    tracker = AlertTracker({"fight": RULES, "fire": RULES})
    for place in range(4):
        tracker.push(decision(place * STEP, fight=HIGH, fire=LOW if place < 2 else HIGH))
    assert [(event.phase, event.reason) for event in tracker.close(0.8, "disarmed")] == [("cleared", "disarmed")]
    assert tracker.push(decision(1.0, fight=LOW, fire=HIGH)) == []
    assert tracker.open == ()


def test_other_thresholds_judge_the_open_episode_too() -> None:
    tracker = tracker_of()
    (raised,) = played(tracker, [HIGH] * 3)
    tracker.reconfigure({"fight": replace(RULES, raise_at=0.99, clear_at=0.95)})
    events = played(tracker, [HIGH] * 5, start=0.75)
    assert told(events) == [("cleared", 1.5, "below-threshold")]
    assert events[0].episode.threshold == raised.episode.threshold == 0.7


# -- over a restart --


def test_a_restart_goes_on_with_the_same_episode() -> None:
    before = tracker_of()
    (raised,) = played(before, [HIGH] * 3)
    kept = Episode.model_validate_json(before.open[0].model_dump_json())
    after = AlertTracker({"fight": RULES}, [kept])
    events = played(after, [None] * 4 + [HIGH] * 2 + [LOW] * 5, start=2.0)
    assert told(events) == [("cleared", 4.25, "below-threshold")]
    assert (events[0].episode.id, events[0].episode.sequence) == (raised.episode.id, 1)


def test_a_restart_clears_what_has_ended_meanwhile() -> None:
    before = tracker_of()
    played(before, [HIGH] * 3)
    assert [event.reason for event in AlertTracker({"fight": RULES}, before.open).tick(100)] == ["signal-lost"]


def test_on_another_clock_all_its_times_move_and_nothing_else() -> None:
    tracker = tracker_of()
    played(tracker, [HIGH] * 3 + [0.8])
    (episode,) = tracker.open
    before, after = episode.model_dump(), episode.moved(1000.0).model_dump()
    times = {"onset", "raised_at", "peak_time", "last_above", "last_seen", "updated_at"}
    assert {name for name in before if after[name] != before[name]} == times
    assert {after[name] - before[name] for name in times} == {1000.0}
    assert episode.moved(1000.0).moved(-1000.0) == episode


def test_an_episode_of_a_class_that_is_gone_is_not_followed() -> None:
    before = tracker_of()
    played(before, [HIGH] * 3)
    assert AlertTracker({"fire": RULES}, before.open).open == ()


# -- whatever the scores --

SCORES = st.lists(st.sampled_from([None, 0.0, 0.3, 0.49, 0.5, 0.6, 0.69, 0.7, 0.8, 0.9, 1.0]), max_size=120)
SECONDS = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.5])


@settings(max_examples=150, deadline=None)
@given(
    scores=SCORES,
    minimum=SECONDS,
    merge=SECONDS,
    cool=SECONDS,
    update=st.sampled_from([1.0, 3.0]),
    restarts=st.sets(st.integers(0, 119)),
    gaps=st.sets(st.integers(0, 119), max_size=4),
)
def test_the_story_of_each_episode_is_whole(
    scores: list[float | None],
    minimum: float,
    merge: float,
    cool: float,
    update: float,
    restarts: set[int],
    gaps: set[int],
) -> None:
    rules = replace(RULES, minimum_seconds=minimum, merge_seconds=merge, cool_down_seconds=cool, update_seconds=update)
    tracker = AlertTracker({"fight": rules})
    events: list[AlertEvent] = []
    seen: dict[float, float] = {}
    time = 0.0
    forgotten = -math.inf
    for place, score in enumerate(scores):
        time += 8.0 if place in gaps else STEP
        if place in restarts:
            # What a restart keeps is what the outbox keeps.
            tracker = AlertTracker({"fight": rules}, [Episode.model_validate(one.model_dump()) for one in tracker.open])
            forgotten = time
        events += tracker.tick(time)
        if score is not None:
            seen[time] = score
        made = tracker.push(decision(time, warm=score is not None, fight=score or 0.0))
        assert score is not None or made == []
        assert len(made) <= 1
        events += made

    stories: dict[str, list[AlertEvent]] = {}
    for event in events:
        stories.setdefault(event.episode.id, []).append(event)
    assert [event.time for event in events] == sorted(event.time for event in events)
    assert len([story for story in stories.values() if story[-1].phase != "cleared"]) == len(tracker.open)
    ended = -math.inf
    for story in stories.values():
        first, *rest = story
        assert [event.episode.sequence for event in story] == list(range(len(story)))
        assert [event.phase for event in story[:-1]] == ["raised", *["updated"] * (len(story) - 2)][: len(story) - 1]
        onset, raised = first.episode.onset, first.episode.raised_at
        assert first.phase == "raised"
        assert first.time == raised
        assert raised - onset >= minimum
        # An unbroken run of warm decisions at or above the threshold.
        run = [score for moment, score in seen.items() if onset <= moment <= raised]
        assert min(run) >= rules.raise_at
        assert first.episode.peak == max(run)
        # A restart does not remember a cool-down.
        assert raised >= ended + cool or forgotten >= ended
        for before, after in zip(story, rest, strict=False):
            assert after.episode.onset == onset
            assert after.episode.peak >= before.episode.peak
            if after.reason == "interval":
                assert after.time - before.time >= update
            if after.reason == "peak":
                assert after.episode.peak - before.episode.peak >= PEAK_STEP
        last = story[-1]
        if last.reason == "below-threshold":
            end = last.episode.last_above
            assert last.time - end >= merge
            assert all(score < rules.clear_at for moment, score in seen.items() if end < moment <= last.time)
        if last.reason == "signal-lost":
            assert not [moment for moment in seen if last.time - rules.signal_lost_seconds <= moment < last.time]
        ended = last.time
