"""What the trained part of the network reads: windows through the frozen part of the backbone, each computed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt

from whycam.bundle import file_entry
from whycam.clips import Clip
from whycam.errors import SourceError
from whycam_export.training.augmentation import augmented
from whycam_export.training.feature_cache import FeatureCache, Features
from whycam_export.training.network import preprocess
from whycam_export.training.windows import Sampling, read_windows

FineTune = Literal["none", "block5", "all"]

LAST_FROZEN: dict[FineTune, str | None] = {"none": "block5_pool", "block5": "block4_pool", "all": None}
"""The backbone's last layer that is not trained."""

_VERSION = 1
"""Raised when sampling, augmentation or preprocessing change, so that older entries are not found."""


class FrozenBackbone:
    """The part of the backbone that is not trained, with a digest of its weights."""

    def __init__(self, backbone: Any, fine_tune: FineTune) -> None:
        last = LAST_FROZEN[fine_tune]
        self._model = keras.Model(backbone.input, backbone.get_layer(last).output) if last else None
        self.digest = _digest(self._model) if self._model is not None else "frames"

    def __call__(self, windows: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """Windows uint8 [N, T, H, W, 3] BGR to maps f32 [N, T, h, w, C]; to themselves where nothing is frozen."""
        if self._model is None:
            return windows
        return np.stack([self._model.predict_on_batch(preprocess(window)) for window in windows])


@dataclass(eq=False)
class FeatureReader:
    """Reads clips as features, from the cache where they are in it."""

    backbone: FrozenBackbone
    sampling: Sampling
    cache: FeatureCache
    used: set[str] = field(default_factory=set)
    """Keys of the entries read so far."""
    computed: int = 0
    """How many of them were not in the cache."""

    def read(self, path: Path, copy: int = 0) -> Features:
        """The features of the clip at `path`, of its augmented copy number `copy` (0: the clip itself).

        Raises SourceError where the clip cannot be decoded.
        """
        try:
            clip_digest = file_entry(path).sha256
        except OSError as error:
            raise SourceError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
        key = self._key(clip_digest, copy)
        features = self.cache.load(key)
        if features is None:
            windows = read_windows(path, self.sampling)
            values = self.backbone(augmented(windows.frames, clip_digest, copy))
            features = self.cache.store(key, Features(values, windows.padded))
            self.computed += 1
        self.used.add(key)
        return features

    def _key(self, clip_digest: str, copy: int) -> str:
        parts = {
            "version": _VERSION,
            "clip": clip_digest,
            "backbone": self.backbone.digest,
            "frames": self.sampling.frames,
            "frame_interval": self.sampling.frame_interval,
            "size": self.sampling.size,
            "copy": copy,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Example:
    """One window: where its features lie, and what it shows."""

    features: npt.NDArray[Any]
    """[T, ...]: a view into the mapped cache entry."""
    label: int
    """The class's place in the model's order."""
    clip: Clip


def batch_input(batch: Sequence[Example]) -> npt.NDArray[np.float32]:
    """The windows of `batch` as the trained part takes them: f32 [N, T, ...]; frames are preprocessed."""
    values = np.stack([example.features for example in batch])
    return preprocess(values) if values.dtype == np.uint8 else values


def _digest(model: Any) -> str:
    digest = hashlib.sha256()
    for layer in model.layers:
        digest.update(layer.name.encode())
        for weight in layer.get_weights():
            digest.update(str(weight.shape).encode())
            digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
