"""The value that each scored frame yields, and when it is an alert."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Decision:
    """What the model says of the window that ends with a frame."""

    time: float
    """Seconds, of the window's last frame, on the clock of the frames pushed."""
    scores: dict[str, float]
    """Score of each class, 0 to 1; NaN while the window is cold."""
    label: str | None
    """The class with the highest score; None while the window is cold."""
    warm: bool
    """Whether the window is full and without gaps."""
    alert: bool
    """Whether an anomalous class has reached its threshold; never while the window is cold."""

    def json(self) -> str:
        """The decision as one line of JSON; scores are null while the window is cold."""
        scores = {name: None if math.isnan(score) else round(score, 6) for name, score in self.scores.items()}
        return json.dumps({**asdict(self), "time": round(self.time, 6), "scores": scores}, ensure_ascii=False)


def alerting(scores: Mapping[str, float], thresholds: Mapping[str, float]) -> list[str]:
    """The classes whose scores have reached their thresholds, highest score first. A NaN score reaches none."""
    reached = [name for name, threshold in thresholds.items() if scores[name] >= threshold]
    return sorted(reached, key=lambda name: -scores[name])
