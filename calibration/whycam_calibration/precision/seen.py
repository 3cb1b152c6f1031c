"""What a precision makes of the held-back windows: their scores, and where it says that they made the model decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.default_methods import METHOD, TIME
from whycam.detect.model import Model
from whycam.detect.ring import Sample, Snapshot
from whycam_calibration.precision.extractor import Maps
from whycam_calibration.precision.progress import Progress
from whycam_calibration.precision.windows import Window

EXPLAINED = 30
"""Windows whose heat maps are compared, at most; evenly spread over all."""

Extract = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], Maps]]


@dataclass(frozen=True, eq=False)
class Seen:
    """Of W windows."""

    scores: NDArray[np.float32]
    """[W, K]"""
    heatmaps: NDArray[np.float32]
    """[M, T, h, w] of those that are explained; M is 0 where the bundle does not explain."""


def explained(count: int) -> list[int]:
    """Which of `count` windows are explained."""
    return [int(index) for index in np.unique(np.linspace(0, count - 1, min(count, EXPLAINED)).round())]


def look(
    model: Model,
    extract: Extract,
    windows: Sequence[Window],
    labels: Sequence[str] | None,
    what: str,
    progress: Progress,
) -> Seen:
    """What `extract`, and the rest of `model` behind it, makes of `windows`, frame by frame as on the device.

    Heat maps are the default method's, of `labels` against the normal class: one for each window; where they are not
    given, of the anomalous class with the highest score.
    """
    chosen = set(explained(len(windows))) if METHOD in model.methods else set()
    scores, heatmaps = [], []
    for index, window in enumerate(windows):
        progress(what, index, len(windows))
        snapshot = snapshot_of(model, extract, window.images)
        scores.append([snapshot.scores[name] for name in model.manifest.classes])
        if index in chosen:
            label = highest_anomaly(model.manifest, scores[-1]) if labels is None else labels[index]
            heatmaps.append(heatmaps_of(model, snapshot, METHOD, label, model.manifest.normal))
    progress(what, len(windows), len(windows))
    empty = np.zeros((0, model.manifest.window.frames, 1, 1), np.float32)
    return Seen(np.array(scores, np.float32), np.stack(heatmaps) if heatmaps else empty)


def highest_anomaly(manifest: Manifest, scores: Sequence[float]) -> str:
    """The anomalous class with the highest of `scores` [K]."""
    return max(manifest.anomalies, key=lambda name: scores[manifest.classes.index(name)])


def heatmaps_of(model: Model, snapshot: Snapshot, method: str, label: str, versus: str | None) -> NDArray[np.float32]:
    """Heat maps f32 [T, h, w] of all frames."""
    # The frames' shares are not asked for, so the cheapest way to them will do.
    time = "relevance" if "relevance" in model.time_methods else TIME
    made = model.explain(snapshot, method, label, versus, frames="all", time=time, reference="none")
    return made.heatmaps


def snapshot_of(model: Model, extract: Extract, images: NDArray[np.uint8]) -> Snapshot:
    """The window of T `images`, uint8 [T, H, W, 3], as `extract` sees it."""
    interval = model.manifest.window.frame_interval
    samples: list[Sample] = []
    for index, image in enumerate(images):
        if samples and np.array_equal(image, images[index - 1]):
            samples.append(samples[-1])
            continue
        features, maps = extract(image[np.newaxis])
        samples.append(Sample(features[0], tuple(layer[0] for layer in maps), image, index * interval))
    _, values = model.logits(np.stack([sample.features for sample in samples])[np.newaxis])
    scores = {name: float(value) for name, value in zip(model.manifest.classes, values[0], strict=True)}
    return Snapshot(tuple(samples), scores, max(scores, key=scores.__getitem__))
