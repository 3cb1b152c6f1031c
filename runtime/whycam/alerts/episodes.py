"""Episodes: from scores that rise and fall to one alert per event."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict
from uuid6 import uuid7

from whycam.detect.decision import Decision

Phase = Literal["raised", "updated", "cleared"]
Reason = Literal[
    "threshold", "peak", "interval", "explanation", "below-threshold", "signal-lost", "disarmed", "removed"
]

PEAK_STEP = 0.05
"""A peak that has grown by so much since the last message is told at once."""
_PEAK_SECONDS = 1.0
"""But not more often than this."""


@dataclass(frozen=True)
class EpisodeRules:
    """When an episode of a class begins and ends; scores 0 to 1, times in seconds."""

    raise_at: float
    clear_at: float
    minimum_seconds: float
    merge_seconds: float
    cool_down_seconds: float
    update_seconds: float
    signal_lost_seconds: float


class Episode(BaseModel):
    """A stretch of time in which a class was above its threshold; times in seconds, on the clock of the decisions."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    """UUIDv7."""
    label: str
    threshold: float
    """The score that it was raised at."""
    onset: float
    """When the score first reached the threshold."""
    raised_at: float
    """When that had lasted long enough."""
    peak: float
    peak_time: float
    score: float
    """The last warm decision's."""
    last_above: float
    """The last decision at or above the clearing score: where the episode ends, if it ends now."""
    last_seen: float
    """The last warm decision."""
    updated_at: float
    """The last message."""
    told_peak: float
    """The peak in the last message."""
    sequence: int
    """The last message's number: 0 when raised."""

    def moved(self, seconds: float) -> Episode:
        """The same, on a clock that is ahead by `seconds`."""
        times = ("onset", "raised_at", "peak_time", "last_above", "last_seen", "updated_at")
        return self.model_copy(update={name: getattr(self, name) + seconds for name in times})

    def told(self, time: float) -> Episode:
        """The same, after another message at `time`."""
        changes = {"sequence": self.sequence + 1, "updated_at": time, "told_peak": self.peak}
        return self.model_copy(update=changes)


@dataclass(frozen=True)
class AlertEvent:
    """Something to tell: an episode begins, goes on, or has ended."""

    phase: Phase
    episode: Episode
    time: float
    reason: Reason


class AlertTracker:
    """One camera's episodes: at most one at a time for each class.

    An episode is raised when its class has been at or above `raise_at` in an unbroken run of decisions for
    `minimum_seconds`; its onset is the run's first decision. It goes on until the score has been below `clear_at` for
    `merge_seconds`: shorter dips are merged into it. For `cool_down_seconds` after its end no other of its class is
    raised; a run that still holds then raises. Cold decisions neither raise nor clear.
    """

    def __init__(self, rules: Mapping[str, EpisodeRules], open_episodes: Iterable[Episode] = ()) -> None:
        """Follow the classes that `rules` names; `open_episodes` were raised before, and carry on."""
        self._rules = dict(rules)
        self._open = {episode.label: episode for episode in open_episodes if episode.label in self._rules}
        self._run: dict[str, tuple[float, float, float]] = {}
        self._cool_until: dict[str, float] = {}
        self._held_back: set[str] = set()
        self.suppressed = 0
        """Runs that were long enough, but began and ended within a cool-down."""

    @property
    def open(self) -> tuple[Episode, ...]:
        """The episodes that are raised and not cleared."""
        return tuple(self._open.values())

    def reconfigure(self, rules: Mapping[str, EpisodeRules]) -> None:
        """Judge by `rules` from now on; they name the same classes."""
        self._rules = dict(rules)

    def push(self, decision: Decision) -> list[AlertEvent]:
        """Take the next decision; times must not go back."""
        # A model that gives no numbers says nothing, however full its window.
        if not decision.warm or not all(math.isfinite(decision.scores[label]) for label in self._rules):
            self._break_off()
            return []
        events: list[AlertEvent] = []
        for label, rules in self._rules.items():
            score = decision.scores[label]
            if label in self._open:
                events += self._go_on(label, rules, score, decision.time)
            else:
                events += self._begin(label, rules, score, decision.time)
        return events

    def tick(self, time: float) -> list[AlertEvent]:
        """Let time pass without a decision: an episode that nothing has been seen of for long is cleared."""
        return [
            self._clear(episode.label, time, "signal-lost")
            for episode in self.open
            if time - episode.last_seen > self._rules[episode.label].signal_lost_seconds
        ]

    def close(self, time: float, reason: Reason) -> list[AlertEvent]:
        """Clear all open episodes, and forget the runs that might have become some."""
        self._break_off()
        return [self._clear(episode.label, time, reason) for episode in self.open]

    def retire(self) -> tuple[Episode, ...]:
        """Give up the open episodes, for another to carry on."""
        episodes = self.open
        self._open.clear()
        self._run.clear()
        return episodes

    def restate(self, episode: str, time: float, reason: Reason) -> list[AlertEvent]:
        """Tell once more how the open episode with this id stands; nothing where it is cleared by now."""
        return [self._update(told.label, time, reason) for told in self.open if told.id == episode]

    def _break_off(self) -> None:
        self._run.clear()
        self.suppressed += len(self._held_back)
        self._held_back.clear()

    def _begin(self, label: str, rules: EpisodeRules, score: float, time: float) -> list[AlertEvent]:
        if score < rules.raise_at:
            if self._run.pop(label, None) is not None and label in self._held_back:
                self._held_back.discard(label)
                self.suppressed += 1
            return []
        onset, peak, peak_time = self._run.get(label, (time, score, time))
        if score > peak:
            peak, peak_time = score, time
        self._run[label] = (onset, peak, peak_time)
        if time - onset < rules.minimum_seconds - 1e-6:
            return []
        if time < self._cool_until.get(label, time):
            self._held_back.add(label)
            return []
        del self._run[label]
        self._held_back.discard(label)
        self._open[label] = Episode(
            id=str(uuid7()),
            label=label,
            threshold=rules.raise_at,
            onset=onset,
            raised_at=time,
            peak=peak,
            peak_time=peak_time,
            score=score,
            last_above=time,
            last_seen=time,
            updated_at=time,
            told_peak=peak,
            sequence=0,
        )
        return [AlertEvent("raised", self._open[label], time, "threshold")]

    def _go_on(self, label: str, rules: EpisodeRules, score: float, time: float) -> list[AlertEvent]:
        episode = self._open[label]
        grown = score > episode.peak
        self._open[label] = episode = episode.model_copy(
            update={
                "score": score,
                "last_seen": time,
                "peak": max(score, episode.peak),
                "peak_time": time if grown else episode.peak_time,
                "last_above": time if score >= rules.clear_at else episode.last_above,
            }
        )
        if score < rules.clear_at and time - episode.last_above >= rules.merge_seconds:
            return [self._clear(label, time, "below-threshold")]
        since = time - episode.updated_at
        if episode.peak - episode.told_peak >= PEAK_STEP and since >= _PEAK_SECONDS:
            return [self._update(label, time, "peak")]
        if since >= rules.update_seconds:
            return [self._update(label, time, "interval")]
        return []

    def _update(self, label: str, time: float, reason: Reason) -> AlertEvent:
        self._open[label] = self._open[label].told(time)
        return AlertEvent("updated", self._open[label], time, reason)

    def _clear(self, label: str, time: float, reason: Reason) -> AlertEvent:
        self._cool_until[label] = time + self._rules[label].cool_down_seconds
        return cleared(self._open.pop(label), time, reason)


def cleared(episode: Episode, time: float, reason: Reason) -> AlertEvent:
    """The end of an episode."""
    return AlertEvent("cleared", episode.told(time), time, reason)
