"""The window's samples: all that a decision and its explanation need, in memory of constant size."""

from __future__ import annotations

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

    def features(self) -> NDArray[np.float32]:
        """[n, F] of the n samples there are, oldest first; so are the rest."""
        return np.stack([sample.features for sample in self._samples])

    def maps(self) -> NDArray[np.float32]:
        """[n, C, h, w]."""
        return np.stack([sample.maps for sample in self._samples])

    def images(self) -> NDArray[np.uint8]:
        """[n, H, W, 3]."""
        return np.stack([sample.image for sample in self._samples])

    def times(self) -> NDArray[np.float64]:
        """[n], seconds."""
        return np.array([sample.time for sample in self._samples])
