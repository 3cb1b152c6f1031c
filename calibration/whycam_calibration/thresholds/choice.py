"""The operating point of a class: the lowest threshold that keeps false alarms down, and how long it must hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from whycam.alerts.episodes import EpisodeRules
from whycam.alerts.rules import MINIMUM_SECONDS
from whycam.config.models import AlertRules
from whycam_calibration.thresholds.alarms import Floats, alarms_of
from whycam_calibration.thresholds.detection import Detection, detection_of
from whycam_calibration.thresholds.levels import above, levels, peaks, with_margin
from whycam_calibration.thresholds.rates import Rate, most_alarms
from whycam_calibration.thresholds.timeline import Timeline

MINIMA = (0.0, 0.5, 1.0, 2.0, 3.0)
"""Seconds that are tried for how long a threshold must hold."""
FLOOR = 0.5
"""No lower threshold is chosen unless the footage is long enough for it and there are clips of the class."""
LOWEST = 0.05
BUSY = 0.05
"""Normal footage reaches no threshold for more of the time than this: an alarm that never ends would count as one."""
MARGIN = 1.0
"""Log odds added to the threshold where the footage is too short to promise anything: odds 2.7 times as high."""
QUIET = 0.99
"""An episode is cleared at the score that normal footage stays below for so much of the time,"""
CLEAR_FROM, CLEAR_TO = 0.5, 0.95
"""but at these shares of the threshold at least and at most."""


@dataclass(frozen=True)
class Trial:
    """The operating point that one minimum duration leads to."""

    rules: EpisodeRules
    rate: Rate
    """On the footage that it was chosen on."""
    allowed: int | None
    """The most alarms that would have been accepted there; None where even none promise anything."""
    highest: float | None
    """The highest score that this footage has held for the minimum duration; None where it is too short for that."""
    detection: Detection | None
    """None where there is no clip of the class."""

    @property
    def kept(self) -> bool:
        """Whether the threshold can do what is asked: it cannot where normal footage scores 1."""
        return self.rate.alarms <= (self.allowed or 0)


@dataclass(frozen=True)
class Point:
    """The operating point of one class, and those that it was chosen from."""

    label: str
    chosen: Trial
    tried: tuple[Trial, ...]


class Footage:
    """One class's scores on the normal footage, asked again and again for the alarms that rules make of them."""

    def __init__(self, timelines: Sequence[Timeline], label: str, column: int, temperature: float) -> None:
        self.label = label
        self.hours = sum(one.hours for one in timelines)
        self._timelines = timelines
        self._scores = [one.scores(temperature)[:, column] for one in timelines]
        self._column, self._temperature = column, temperature

    def series(self, seconds: float) -> list[tuple[Floats, Floats]]:
        """Times and scores of each video; what is shorter than a window and `seconds` holds its last score."""
        made = []
        for one, scores in zip(self._timelines, self._scores, strict=True):
            held = one.held(seconds)
            more = len(held.times) - len(one.times)
            made.append((held.times, np.concatenate([scores, np.repeat(scores[-1:], more)]) if more else scores))
        return made

    def alarms(self, rules: EpisodeRules) -> Rate:
        """How many alarms it would have raised."""
        count = sum(
            len(alarms_of(times, {self.label: scores}, {self.label: rules}))
            for times, scores in self.series(rules.minimum_seconds)
        )
        return Rate(count, self.hours)

    def below(self, share: float) -> float:
        """The score that it stays below for `share` of the time."""
        scores = np.concatenate([scores[~np.isnan(scores)] for scores in self._scores])
        return float(np.quantile(scores, share))

    def share_from(self, threshold: float) -> float:
        """The part of the time at or above `threshold`."""
        reached = [scores[~np.isnan(scores)] >= threshold for scores in self._scores]
        return float(np.concatenate(reached).mean())

    def peaks(self, seconds: float) -> Floats:
        """What it has held for `seconds`, the highest first."""
        found = [peaks(levels(times, scores, seconds)) for times, scores in self.series(seconds)]
        return np.sort(np.concatenate(found))[::-1] if found else np.empty(0)


def choose_point(
    footage: Footage, clips: Sequence[Timeline], column: int, temperature: float, target: float, window_seconds: float
) -> Point:
    """For at most `target` false alarms per hour of this class, the point that detects most of `clips`, then soonest.

    Without clips nothing speaks for another minimum duration than the default, and for a shorter one only footage that
    is long enough for a bound.
    """
    quiet = footage.below(QUIET)
    lowest = max(LOWEST if clips else FLOOR, above(footage.below(1 - BUSY)) or 1.0)
    tried = []
    for seconds in MINIMA if clips else (MINIMUM_SECONDS,):
        trial = _threshold(footage, seconds, target, quiet, lowest)
        detection = detection_of(clips, column, trial.rules, temperature, window_seconds) if clips else None
        tried.append(Trial(trial.rules, trial.rate, trial.allowed, trial.highest, detection))
    return Point(footage.label, max(tried, key=_merit), tuple(tried))


def rules_for(raise_at: float, seconds: float, quiet: float) -> EpisodeRules:
    """The rules of a class: what calibration sets, and the configuration's defaults for the rest."""
    clear = min(max(quiet, CLEAR_FROM * raise_at), CLEAR_TO * raise_at)
    rest = AlertRules()
    return EpisodeRules(
        raise_at=raise_at,
        clear_at=round(clear, 6),
        minimum_seconds=seconds,
        merge_seconds=rest.merge_seconds,
        cool_down_seconds=rest.cool_down_seconds,
        update_seconds=rest.update_seconds,
        signal_lost_seconds=rest.signal_lost_seconds,
    )


def _threshold(footage: Footage, seconds: float, target: float, quiet: float, lowest: float) -> Trial:
    found = footage.peaks(seconds)
    allowed = most_alarms(target, footage.hours)

    def count(threshold: float) -> Rate:
        return footage.alarms(rules_for(threshold, seconds, quiet))

    if allowed is None:
        quietest = above(float(found[0])) if len(found) else FLOOR
        raise_at = 1.0 if quietest is None else max(FLOOR, with_margin(quietest, MARGIN))
    else:
        raise_at = _lowest(found, allowed, lowest, lambda threshold: count(threshold).alarms)
    rules = rules_for(raise_at, seconds, quiet)
    return Trial(rules, footage.alarms(rules), allowed, float(found[0]) if len(found) else None, None)


def _lowest(found: Floats, allowed: int, lowest: float, count: Callable[[float], int]) -> float:
    """The lowest threshold down to which no more than `allowed` alarms are raised.

    Just above the k-th highest peak there are at most k alarms, since each begins with a peak of its own. Lower down
    merging and cool-downs make fewer of them, so going on is tried peak by peak.
    """
    chosen = (above(float(found[0])) or 1.0) if len(found) else lowest
    place = allowed
    while chosen > lowest:
        threshold = max(lowest, above(float(found[place])) or 1.0) if place < len(found) else lowest
        made = count(threshold)
        if made > allowed:
            break
        chosen = threshold
        place += max(1, allowed - made)
    return max(chosen, lowest)


def _merit(trial: Trial) -> tuple[bool, bool, float, float, float]:
    found, seconds = trial.detection, trial.rules.minimum_seconds
    # A single high score raises at once only where the footage was long enough to show what that costs.
    careful = trial.allowed is not None or seconds >= MINIMUM_SECONDS
    if found is None or not found.delays:
        return trial.kept, careful, 0.0, 0.0, -abs(seconds - MINIMUM_SECONDS)
    return trial.kept, careful, found.rate, -found.delay(0.5), -seconds
