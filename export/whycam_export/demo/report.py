"""The demo's figures: over all unseen clips, per class, and per clip."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Bundle, Manifest
from whycam.explain import METHOD
from whycam_export.demo.live import ALLOWED_SECONDS, Received
from whycam_export.demo.measure import (
    ACCURACY_REQUIRED,
    POINTING_REQUIRED,
    Pointing,
    accuracy,
    confusion,
    pointing,
    true_label,
)
from whycam_export.demo.watch import OTHER_WAYS, VERSUS, Watched

SCHEMA = "whycam.demo/1"


@dataclass(frozen=True)
class Way:
    """A way of explaining, and how well it points."""

    method: str
    versus: str | None
    pointing: Pointing


@dataclass(frozen=True)
class ClipReport:
    """A clip's figures: windows counted and right, the first alert's class and time, and how well its maps point."""

    watched: Watched
    counted: int
    right: int
    alert: str | None
    alert_time: float | None
    pointing: Pointing

    @property
    def false_alert(self) -> bool:
        """Whether an alert was raised before the anomaly began, or of another class."""
        truth = self.watched.truth
        return self.alert is not None and (self.alert != truth.label or (self.alert_time or 0.0) < truth.t0)


@dataclass(frozen=True)
class Report:
    """All of the demo's figures."""

    manifest: Manifest
    counts: NDArray[np.int64]
    """Confusion matrix of windows, int [K,K]: rows are the truth."""
    ways: tuple[Way, ...]
    """The first is the one the demo shows and is judged by."""
    by_class: dict[str, Pointing]
    clips: tuple[ClipReport, ...]
    stages: tuple[tuple[str, float], ...]
    live: Received | str | None = None
    """What a subscriber received, or why it did not; None where there is no broker to try it with."""

    @property
    def accuracy(self) -> float:
        """Part of the counted windows with the right label."""
        return accuracy(self.counts)

    @property
    def pointing(self) -> Pointing:
        """How often the heat maps' peaks lie on the anomaly."""
        return self.ways[0].pointing

    def recall(self, name: str) -> float:
        """Part of the counted windows of class `name` with the right label."""
        row = self.counts[self.manifest.classes.index(name)]
        return float(row[self.manifest.classes.index(name)] / row.sum()) if row.sum() else 0.0

    def shortfalls(self) -> list[str]:
        """What is below what the demo promises: a line each."""
        required = (
            ("window accuracy", self.accuracy, ACCURACY_REQUIRED),
            ("peaks on the anomaly", self.pointing.rate, POINTING_REQUIRED),
        )
        below = [f"{name} {value:.3f} is below {least:g}" for name, value, least in required if not value >= least]
        if isinstance(self.live, str):
            below.append(self.live)
        elif self.live is not None and self.live.delay > ALLOWED_SECONDS:
            below.append(f"the live alert took {self.live.delay:.1f} s, more than {ALLOWED_SECONDS:g}")
        return below

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        classes = self.manifest.classes
        figures: dict[str, Any] = {
            "schema": SCHEMA,
            "window_accuracy": self.accuracy,
            "window_accuracy_required": ACCURACY_REQUIRED,
            "windows": int(self.counts.sum()),
            "confusion": {
                name: dict(zip(classes, row, strict=True))
                for name, row in zip(classes, self.counts.tolist(), strict=True)
            },
            "peak_on_anomaly": self.pointing.rate,
            "peak_on_anomaly_required": POINTING_REQUIRED,
            "peak_on_anomaly_by_chance": self.pointing.chance,
            "frames_explained": self.pointing.frames,
            "peak_on_anomaly_by_class": {name: value.rate for name, value in self.by_class.items()},
            "ways": [
                {"method": way.method, "versus": way.versus, "peak_on_anomaly": way.pointing.rate} for way in self.ways
            ],
            "live": self.live.as_dict() if isinstance(self.live, Received) else self.live,
            "seconds": {name: round(seconds, 1) for name, seconds in self.stages},
            "clips": [
                {
                    "clip": clip.watched.name,
                    "label": clip.watched.truth.label,
                    "onset": clip.watched.truth.t0,
                    "alert": clip.alert,
                    "alert_time": None if clip.alert_time is None else round(clip.alert_time, 3),
                    "windows": clip.counted,
                    "windows_right": clip.right,
                    "frames_explained": clip.pointing.frames,
                    "peaks_on_anomaly": clip.pointing.hits,
                }
                for clip in self.clips
            ],
        }
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measure(watched: Sequence[Watched], bundle: Path, stages: Sequence[tuple[str, float]]) -> Report:
    """The figures of the watched clips, as `whycam_export.demo.measure` defines them."""
    manifest = Bundle.open(bundle).manifest
    window = manifest.window
    judged = [(clip.truth, clip.decisions) for clip in watched]
    clips = tuple(_clip(clip, manifest) for clip in watched)
    ways = [Way(METHOD, VERSUS, _sum(clip.pointing for clip in clips))]
    for index, (method, versus) in enumerate(OTHER_WAYS):
        beside = (pointing(clip.truth, reason.others[index]) for clip in watched for reason in clip.reasons)
        ways.append(Way(method, versus, _sum(beside)))
    return Report(
        manifest,
        confusion(judged, manifest.classes, window.frames, window.frame_interval),
        tuple(ways),
        {
            name: _sum(clip.pointing for clip in clips if clip.watched.truth.label == name)
            for name in manifest.anomalies
        },
        clips,
        tuple(stages),
    )


def _clip(watched: Watched, manifest: Manifest) -> ClipReport:
    window = manifest.window
    expected = [
        (true_label(watched.truth, decision.time, window.frames, window.frame_interval), decision.label)
        for decision in watched.decisions
        if decision.warm
    ]
    counted = [(truth, label) for truth, label in expected if truth is not None]
    first = next((reason for reason in watched.reasons if reason.raised), None)
    return ClipReport(
        watched,
        len(counted),
        sum(truth == label for truth, label in counted),
        first.explanation.label if first else None,
        float(first.explanation.times[-1]) if first else None,
        _sum(pointing(watched.truth, reason.explanation) for reason in watched.reasons),
    )


def _sum(parts: Any) -> Pointing:
    return reduce(add, parts, Pointing())
