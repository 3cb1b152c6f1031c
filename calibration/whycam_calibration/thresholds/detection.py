"""Which events of the labelled clips an operating point detects, and how soon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whycam.alerts.episodes import EpisodeRules
from whycam_calibration.thresholds.alarms import alarms_of
from whycam_calibration.thresholds.timeline import Timeline


@dataclass(frozen=True)
class Detection:
    """What became of the events of one class."""

    events: int
    delays: tuple[float, ...]
    """Seconds from the beginning of each detected event to its alarm, sorted."""
    held: int
    """Clips shorter than a window and the minimum duration, whose last score was held."""
    timed: int
    """Events whose beginning is known; the others are taken to begin with their clip."""

    @property
    def rate(self) -> float:
        """The part of the events that was detected."""
        return len(self.delays) / self.events if self.events else float("nan")

    def delay(self, share: float) -> float:
        """Seconds within which `share` of the detected events were raised; NaN where none was."""
        return float(np.quantile(self.delays, share)) if self.delays else float("nan")


def detection_of(
    clips: Sequence[Timeline], column: int, rules: EpisodeRules, temperature: float, window_seconds: float
) -> Detection:
    """Of the events in `clips`, whose scores stand in `column`.

    An event is detected where an episode is raised, or goes on, between its beginning and its end; a window looks back,
    so the alarm may come `window_seconds` and the minimum duration after the end. An episode that began before the
    event has no delay.
    """
    events, held, timed = 0, 0, 0
    delays: list[float] = []
    for clip in clips:
        shown = clip.held(rules.minimum_seconds)
        held += shown is not clip
        scores = shown.scores(temperature)[:, column]
        alarms = alarms_of(shown.times, {clip.label: scores}, {clip.label: rules})
        last = float(shown.times[-1])
        for start, end in [(clip.start, last)] if clip.events is None else clip.events:
            events += 1
            timed += clip.events is not None
            latest = end + window_seconds + rules.minimum_seconds
            raised = [
                alarm.raised
                for alarm in alarms
                if alarm.raised <= latest and (alarm.ended is None or alarm.ended >= start)
            ]
            if raised:
                delays.append(max(0.0, min(raised) - start))
    return Detection(events, tuple(sorted(delays)), held, timed)
