"""What another threshold would have meant: false alarms and detections as functions of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from whycam_calibration.thresholds.choice import QUIET, Footage, Point, rules_for
from whycam_calibration.thresholds.detection import detection_of
from whycam_calibration.thresholds.rates import Rate
from whycam_calibration.thresholds.timeline import Timeline

_LOG_ODDS = np.linspace(-2.5, 9.0, 24)
_TOO_OFTEN = 0.2
"""A threshold reached for more of the time than this is not looked at: an alarm that never ends counts as one."""

_ENOUGH = 200
"""Alarms that tell a rate well: lower thresholds are not looked at."""


@dataclass(frozen=True)
class Step:
    """One threshold."""

    threshold: float
    rate: Rate
    """On the footage that the point was chosen on."""
    detected: float | None
    """The part of the class's events; None without clips of it."""


def tradeoff(
    point: Point, footage: Footage, clips: Sequence[Timeline], column: int, temperature: float, window_seconds: float
) -> tuple[Step, ...]:
    """At the minimum duration of `point`, from low thresholds to high ones."""
    steps: list[Step] = []
    for odds in _LOG_ODDS[::-1]:
        threshold = round(float(1 / (1 + np.exp(-odds))), 6)
        if footage.share_from(threshold) > _TOO_OFTEN or (steps and steps[-1].rate.alarms > _ENOUGH):
            break
        rules = replace(point.chosen.rules, **_scores(threshold, footage))
        found = detection_of(clips, column, rules, temperature, window_seconds).rate if clips else None
        steps.append(Step(threshold, footage.alarms(rules), found))
    return tuple(reversed(steps))


def _scores(threshold: float, footage: Footage) -> dict[str, float]:
    rules = rules_for(threshold, 0.0, footage.below(QUIET))
    return {"raise_at": rules.raise_at, "clear_at": rules.clear_at}
