"""What is written down of a training run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

from whycam.clips import Split
from whycam_export.training.dataset import Dataset
from whycam_export.training.metrics import ClipScores, summary
from whycam_export.training.options import Options

SCHEMA = "whycam.training/1"
METRICS_SCHEMA = "whycam.metrics/1"

_SUMMARY = ("clips", "accuracy", "recall", "anomaly_auc")


def metrics_record(
    scored: Mapping[Split, ClipScores], data: Dataset, classes: tuple[str, ...], normal: str, kept: list[int]
) -> dict[str, Any]:
    """The metrics file: figures of each side, by clip, and each clip's scores."""
    return {
        "schema": METRICS_SCHEMA,
        "classes": list(classes),
        "normal": normal,
        "epoch": kept[-1],
        "note": "the epoch is the one with the lowest cross-entropy on the validation clips; test clips had no say",
        **{side: summary(result, classes, normal) for side, result in scored.items()},
        "padded": data.padded,
        "skipped": data.skipped,
        "clips": [
            {
                "path": str(clip.path),
                "label": clip.label,
                "source": clip.source,
                "split": side,
                "scores": dict(zip(classes, map(float, scores), strict=True)),
            }
            for side, result in scored.items()
            for clip, scores in zip(result.clips, result.scores, strict=True)
        ],
    }


def model_record(
    options: Options, data: Dataset, classes: tuple[str, ...], normal: str, metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """The model's `.json`: what `whycam export` reads, and where the model comes from."""
    return {
        "schema": SCHEMA,
        "classes": list(classes),
        "normal": normal,
        "frame_interval": options.frame_interval,
        "preprocess": "caffe",
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("whycam-export", "whycam", "tensorflow", "keras", "numpy")},
        "options": json.loads(json.dumps(asdict(options), default=str)),
        "sources": {side: sorted({clip.source for clip in clips}) for side, clips in data.sides.items()},
        "metrics": {side: {key: metrics[side][key] for key in _SUMMARY} for side in data.sides if side in metrics},
    }
