"""All figures of a calibration of thresholds, as JSON takes them."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from whycam.detect.temperature import tempered
from whycam_calibration.thresholds.choice import Trial
from whycam_calibration.thresholds.ranking import Ranking, by_clips, by_windows
from whycam_calibration.thresholds.rates import CONFIDENCE, Rate, hours_to_promise
from whycam_calibration.thresholds.run import Calibration


def figures_of(made: Calibration) -> dict[str, Any]:
    """Numbers that are not known are null."""
    material, target = made.material, made.options.target
    return {
        "kind": "thresholds",
        "precision": made.options.precision,
        "target_per_hour": target,
        "verdict": made.verdict,
        "confidence": CONFIDENCE,
        "hours_held_back_to_promise": hours_to_promise(target),
        "held_back": made.options.held_back,
        "clips": {label: len(material.of(label)) for label in made.bundle.manifest.classes},
        "normal_videos": len(material.normal),
        "unread": material.unread,
        "left_out_as_trained_on": material.trained_on,
        "padded": sum(one.padded for one in (*material.clips, *material.footage)),
        "chosen_on": _rate(made.chosen_on),
        "checked_on": _rate(made.checked_all),
        "classes": {
            point.label: {
                **_trial(point.chosen),
                "checked_on": _rate(made.checked[point.label]),
                "tried": [_trial(trial) for trial in point.tried],
                "by_threshold": [
                    {"threshold": step.threshold, "detected": step.detected, **_rate(step.rate)}
                    for step in made.tradeoffs[point.label]
                ],
                **_rankings(made, point.label),
            }
            for point in made.points
        },
        "temperature": _known(asdict(made.temperature)),
    }


def _rate(rate: Rate) -> dict[str, float | int | None]:
    low, high = rate.interval
    return {
        "alarms": rate.alarms,
        "hours": rate.hours,
        "per_hour": rate.per_hour if rate.hours else None,
        "low": low,
        "high": None if math.isinf(high) else high,
    }


def _trial(trial: Trial) -> dict[str, Any]:
    found = trial.detection
    return {
        "raise": trial.rules.raise_at,
        "clear": trial.rules.clear_at,
        "minimum_seconds": trial.rules.minimum_seconds,
        "highest_normal": trial.highest,
        "allowed": trial.allowed,
        "chosen_on": _rate(trial.rate),
        "events": 0 if found is None else found.events,
        "detected": 0 if found is None else len(found.delays),
        "delay_median": None if found is None else _known(found.delay(0.5)),
        "delay_90": None if found is None else _known(found.delay(0.9)),
        "beginning_known": 0 if found is None else found.timed,
        "held": 0 if found is None else found.held,
    }


def _rankings(made: Calibration, label: str) -> dict[str, Any]:
    if made.examples is None:
        return {"windows": None, "clips": None}
    examples = made.examples
    scores = np.asarray(tempered(examples.logits, examples.own_scores, made.temperature.value), np.float64)
    column = made.bundle.manifest.classes.index(label)
    return {
        "windows": _ranking(by_windows(examples, scores, column)),
        "clips": _ranking(by_clips(examples, scores, column)),
    }


def _ranking(found: Ranking | None) -> dict[str, float | int] | None:
    if found is None:
        return None
    return {
        "roc_auc": found.roc_auc,
        "average_precision": found.average_precision,
        "positives": found.positives,
        "negatives": found.negatives,
    }


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _known(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_known(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
