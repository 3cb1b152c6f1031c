"""Windows whose class is known: what the temperature is fitted on, and what ROC and reliability are measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam_calibration.thresholds.material import Material
from whycam_calibration.thresholds.timeline import Timeline

MIXED = -1


@dataclass(frozen=True, eq=False)
class Examples:
    """n windows of labelled clips."""

    logits: NDArray[np.float32]
    """[n, K]"""
    own_scores: NDArray[np.float32]
    """[n, K]: the graph's, at a temperature of 1."""
    labels: NDArray[np.intp]
    """[n]: the class of each, by its place among the bundle's."""
    clips: NDArray[np.intp]
    """[n]: the clip that each is from."""
    sources: NDArray[np.intp]
    """[n]: the source that each is from."""
    names: tuple[str, ...]
    """The classes."""

    @property
    def weights(self) -> NDArray[np.float64]:
        """[n]: clips count alike, however long; the sum is 1."""
        _, inverse, counts = np.unique(self.clips, return_inverse=True, return_counts=True)
        weights = 1.0 / counts[inverse]
        normed: NDArray[np.float64] = weights / weights.sum()
        return normed

    def __len__(self) -> int:
        return len(self.labels)

    def pick(self, chosen: NDArray[np.intp]) -> Examples:
        """Those at these places."""
        return Examples(
            self.logits[chosen],
            self.own_scores[chosen],
            self.labels[chosen],
            self.clips[chosen],
            self.sources[chosen],
            self.names,
        )


def examples_of(material: Material, manifest: Manifest) -> Examples | None:
    """The windows of the labelled clips; None where there are none.

    Where no clip shows the normal class, the normal footage stands in, cut into pieces as long as the clips are in the
    middle: what nothing is told apart from has no ROC.
    """
    timelines = list(material.clips)
    if not any(one.label != manifest.normal for one in timelines):
        return None
    if not material.of(manifest.normal):
        length = int(np.median([len(one.times) for one in timelines]))
        timelines += [piece for one in material.footage for piece in _pieces(one, length)]
    sources = {source: place for place, source in enumerate(sorted({one.source for one in timelines}))}
    labels = [labels_of(one, manifest) for one in timelines]
    known = [found != MIXED for found in labels]
    return Examples(
        np.concatenate([one.logits[keep] for one, keep in zip(timelines, known, strict=True)]),
        np.concatenate([one.own_scores[keep] for one, keep in zip(timelines, known, strict=True)]),
        np.concatenate([found[keep] for found, keep in zip(labels, known, strict=True)]),
        np.concatenate([np.full(keep.sum(), place) for place, keep in enumerate(known)]),
        np.concatenate([np.full(k.sum(), sources[one.source]) for one, k in zip(timelines, known, strict=True)]),
        manifest.classes,
    )


def labels_of(timeline: Timeline, manifest: Manifest) -> NDArray[np.intp]:
    """[n]: what each window shows; MIXED where that is not clear, and for cold ones.

    The clip's class where half of its frames or more lie in the event, the normal one where none do. Without known
    times the event lasts as long as the clip.
    """
    own, normal = manifest.classes.index(timeline.label), manifest.classes.index(manifest.normal)
    labels = np.full(len(timeline.times), own)
    if timeline.events is not None:
        frames = manifest.window.frames
        offsets = timeline.interval * np.arange(frames)
        moments = timeline.times[:, np.newaxis] - offsets
        inside = np.zeros(moments.shape, bool)
        for start, end in timeline.events:
            inside |= (moments >= start) & (moments < end)
        share = inside.mean(axis=1)
        labels = np.where(share >= 0.5, own, np.where(share == 0, normal, MIXED))
    return np.where(timeline.warm, labels, MIXED)


def _pieces(timeline: Timeline, length: int) -> list[Timeline]:
    starts = range(0, max(1, len(timeline.times) - length + 1), max(1, length))
    return [piece for start in starts if (piece := timeline.part(start, start + length)).warm.any()]
