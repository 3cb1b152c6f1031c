"""The bundle's network as a function from frames to scores, many at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from whycam.detect.model import Model
from whycam.detect.ring import Snapshot, Usual

CHUNK = 16
"""Frames in one run of the CNN: more are no faster, and take more memory."""

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Network:
    """CNN and head of a model."""

    def __init__(self, model: Model) -> None:
        """Over `model`, whose graphs are shared."""
        self.model = model

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the scores."""
        return self.model.manifest.classes

    def features(self, images: Images) -> Floats:
        """Features f32 [N, F] of `images`, uint8 [N, H, W, 3] BGR at the model's size."""
        starts = range(0, len(images), CHUNK)
        return np.concatenate([self.model.extract(images[start : start + CHUNK])[0] for start in starts])

    def scores(self, windows: Floats) -> Floats:
        """Scores f32 [N, K] of windows of features, f32 [N, T, F]."""
        return self.model.logits(windows)[1]

    def scores_of_frames(self, windows: Images) -> Floats:
        """Scores f32 [N, K] of windows of frames, uint8 [N, T, H, W, 3] BGR at the model's size."""
        count, frames = windows.shape[:2]
        features = self.features(windows.reshape(count * frames, *windows.shape[2:]))
        return self.scores(features.reshape(count, frames, -1))

    def snapshot(self, images: Images, times: NDArray[np.float64], before: Images) -> Snapshot:
        """The window of `images` uint8 [T, H, W, 3] and `times` [T], seconds, as it would be explained.

        `before` [n, H, W, 3] is what the camera has shown, from which it knows what is usual once it is a whole window.
        """
        window = self.model.snapshot(images, times.tolist())
        usual: Usual | None = None
        if len(before) >= len(images):
            for image in before:
                sample = self.model.sample(image, 0.0)
                usual = Usual(sample.features, sample.maps, 1) if usual is None else usual.with_sample(sample)
        return dataclasses.replace(window, usual=usual)
