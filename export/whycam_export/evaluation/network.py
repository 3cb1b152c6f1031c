"""The bundle's network as a function from frames to scores, many at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whycam.detect.graphs import head_spec
from whycam.detect.model import Model
from whycam.detect.ring import Sample, Snapshot
from whycam.detect.sessions import choose_providers, open_graph

CHUNK = 16
"""Frames in one run of the CNN: more are no faster, and take more memory."""

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Network:
    """CNN and head of a model."""

    def __init__(self, model: Model) -> None:
        """Over `model`, whose graphs are shared."""
        self.model = model
        self._head = open_graph(model.bundle, head_spec(model.manifest), choose_providers(None))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the scores."""
        return self.model.manifest.classes

    def features(self, images: Images) -> Floats:
        """Features f32 [N, F] of `images`, uint8 [N, H, W, 3] BGR at the model's size."""
        chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]
        return np.concatenate([self.model._features({"frames": chunk})["features"] for chunk in chunks])

    def scores(self, windows: Floats) -> Floats:
        """Scores f32 [N, K] of windows of features, f32 [N, T, F]."""
        return self._head({"window": windows})["scores"]

    def scores_of_frames(self, windows: Images) -> Floats:
        """Scores f32 [N, K] of windows of frames, uint8 [N, T, H, W, 3] BGR at the model's size."""
        count, frames = windows.shape[:2]
        features = self.features(windows.reshape(count * frames, *windows.shape[2:]))
        return self.scores(features.reshape(count, frames, -1))

    def snapshot(self, images: Images, times: NDArray[np.float64]) -> Snapshot:
        """The window of `images` uint8 [T, H, W, 3] and `times` [T], seconds, as it would be explained."""
        parts = [self.model.extract(image) for image in images]
        samples = tuple(
            Sample(features, maps, image, float(time))
            for (features, maps), image, time in zip(parts, images, times, strict=True)
        )
        values = self.scores(np.stack([features for features, _ in parts])[np.newaxis])[0]
        scores = {name: float(value) for name, value in zip(self.classes, values, strict=True)}
        return Snapshot(samples, scores, max(scores, key=scores.__getitem__))
