"""The window's samples: all that a decision and its explanation need, in memory of constant size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Sample:
    """A frame as the model sees it, and what the CNN made of it."""

    features: NDArray[np.float32]
    """[F]"""
    maps: NDArray[np.float32]
    """[C, h, w], at the CAM layer."""
    image: NDArray[np.uint8]
    """[H, W, 3] BGR, at the model's size."""
    time: float
    """Seconds."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A full window as it was when it was scored; the stream goes on, this does not change."""

    samples: tuple[Sample, ...]
    """T of them, oldest first; one held for several slots stands as often."""
    scores: dict[str, float]
    """Score of each class."""
    label: str
    """The class with the highest score."""

    def features(self) -> NDArray[np.float32]:
        """[T, F]."""
        return stacked_features(self.samples)

    def maps(self) -> NDArray[np.float32]:
        """[T, C, h, w]."""
        return np.stack([sample.maps for sample in self.samples])

    def images(self) -> NDArray[np.uint8]:
        """[T, H, W, 3]."""
        return np.stack([sample.image for sample in self.samples])

    def times(self) -> NDArray[np.float64]:
        """[T], seconds."""
        return np.array([sample.time for sample in self.samples])


def stacked_features(samples: Sequence[Sample]) -> NDArray[np.float32]:
    """The features of n samples, f32 [n, F]."""
    return np.stack([sample.features for sample in samples])


class FeatureRing:
    """The last T samples, oldest first. A slot that was missed holds the sample before it."""

    def __init__(self, slots: int) -> None:
        """A ring of T = `slots` samples, empty."""
        self._slots = slots
        self._samples: list[Sample] = []

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def full(self) -> bool:
        """Whether all T slots are filled."""
        return len(self._samples) == self._slots

    @property
    def newest(self) -> Sample:
        """The sample pushed last; IndexError while the ring is empty."""
        return self._samples[-1]

    def push(self, sample: Sample) -> None:
        """Add `sample`; the oldest one leaves a full ring. A sample held for several slots is not copied."""
        if self.full:
            del self._samples[0]
        self._samples.append(sample)

    def clear(self) -> None:
        """Forget all samples."""
        self._samples.clear()

    def samples(self) -> tuple[Sample, ...]:
        """The samples there are, oldest first."""
        return tuple(self._samples)
