"""The alarms that a timeline raises, by the very rules that the service follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam.alerts.episodes import AlertTracker, EpisodeRules
from whycam.detect import Decision

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Alarm:
    """An episode; times in seconds of the video."""

    label: str
    onset: float
    raised: float
    ended: float | None
    """The last score that was high enough; None where the video ends before the episode."""


def alarms_of(times: Floats, scores: Mapping[str, Floats], rules: Mapping[str, EpisodeRules]) -> list[Alarm]:
    """What the decisions at `times` [n] raise by `rules`, in order; `scores` [n] of each class, NaN where cold.

    The same as pushing each decision into an AlertTracker, as a test holds: those that would change nothing, because
    nothing is open and no score has reached its threshold, are skipped.
    """
    with np.errstate(invalid="ignore"):
        reached = np.logical_or.reduce([scores[name] >= rule.raise_at for name, rule in rules.items()])
    starts = np.flatnonzero(reached)
    if not len(starts):
        return []
    warm = ~np.isnan(next(iter(scores.values())))
    tracker = AlertTracker(rules)
    made: dict[str, Alarm] = {}
    index = 0
    while True:
        place = int(np.searchsorted(starts, index))
        if place == len(starts):
            break
        index = int(starts[place])
        while index < len(times):
            time = float(times[index])
            now = {name: float(scores[name][index]) for name in rules}
            decision = Decision(time, now, label=None, warm=bool(warm[index]), alert=False)
            for event in [*tracker.push(decision), *tracker.tick(time)]:
                episode = event.episode
                if event.phase == "raised":
                    made[episode.id] = Alarm(episode.label, episode.onset, episode.raised_at, None)
                elif event.phase == "cleared":
                    made[episode.id] = Alarm(episode.label, episode.onset, episode.raised_at, episode.last_above)
            index += 1
            if not tracker.open and not reached[index - 1]:
                break
    return list(made.values())
