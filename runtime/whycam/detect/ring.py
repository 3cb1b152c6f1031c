"""The window's samples: all that a decision and its explanation need, in memory of constant size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from whycam.cuda import kernels
from whycam.cuda.array import Array, DeviceArray, Picture, gathered

Number = TypeVar("Number", np.float32, np.uint8)

SPAN = 600
"""Samples over which what is usual is averaged: at ten a second, the last minute counts most."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A frame as the model sees it, and what the CNN made of it."""

    features: Array
    """[F]; where the CNN runs on a GPU, in its memory."""
    maps: tuple[Array, ...]
    """[C, h, w] at each CAM layer; likewise."""
    image: Picture
    """[H, W, 3] BGR, at the model's size."""
    time: float
    """Seconds."""


@dataclass(frozen=True, eq=False)
class Usual:
    """What a camera usually shows: the mean over samples that have left the window, newer ones counting more."""

    features: Array
    """[F]"""
    maps: tuple[Array, ...]
    """[C, h, w] at each CAM layer."""
    samples: int
    """How many have gone into it, at most `SPAN`."""

    def with_sample(self, sample: Sample) -> Usual:
        """The mean with one more sample in it."""
        count = min(self.samples + 1, SPAN)
        share = np.float32(1 / count)
        maps = tuple(_towards(old, new, share) for old, new in zip(self.maps, sample.maps, strict=True))
        return Usual(_towards(self.features, sample.features, share), maps, count)


def _towards(old: Array, new: Array, share: np.float32) -> Array:
    if isinstance(old, DeviceArray) and isinstance(new, DeviceArray):
        return kernels.towards(old, new, float(share))
    old, new = np.asarray(old), np.asarray(new)
    # In one new array: maps are large, and this is done for every frame.
    moved = new - old
    moved *= share
    moved += old
    return moved


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A full window as it was when it was scored; the stream goes on, this does not change."""

    samples: tuple[Sample, ...]
    """T of them, oldest first; one held for several slots stands as often."""
    scores: dict[str, float]
    """Score of each class."""
    label: str
    """The class with the highest score."""
    usual: Usual | None = None
    """What the camera usually shows; None until a whole window has passed."""

    def features(self) -> NDArray[np.float32]:
        """[T, F], on the host."""
        return np.asarray(stacked([sample.features for sample in self.samples]))

    def images(self) -> NDArray[np.uint8]:
        """[T, H, W, 3]."""
        return np.stack([np.asarray(sample.image) for sample in self.samples])

    def times(self) -> NDArray[np.float64]:
        """[T], seconds."""
        return np.array([sample.time for sample in self.samples])


def stacked(arrays: Sequence[NDArray[Number] | DeviceArray]) -> NDArray[Number] | DeviceArray:
    """n arrays of one shape as one, [n, ...], where they are; one alone is not copied."""
    first = arrays[0]
    if len(arrays) == 1:
        return first.reshape(1, *first.shape)
    there = [each for each in arrays if isinstance(each, DeviceArray)]
    if len(there) == len(arrays):
        return gathered(there, there[0].pool)
    return np.stack([np.asarray(each) for each in arrays])


class FeatureRing:
    """The last T samples, oldest first. A slot that was missed holds the sample before it.

    What leaves enters the running mean of what is usual here, so that an event is not measured against itself.
    """

    def __init__(self, slots: int) -> None:
        """A ring of T = `slots` samples, empty."""
        self._slots = slots
        self._samples: list[Sample] = []
        self._usual: Usual | None = None

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
            oldest = self._samples.pop(0)
            usual = self._usual
            self._usual = Usual(oldest.features, oldest.maps, 1) if usual is None else usual.with_sample(oldest)
        self._samples.append(sample)

    @property
    def usual(self) -> Usual | None:
        """What is usual here; None until as many samples have left as the ring holds."""
        return self._usual if self._usual is not None and self._usual.samples >= min(self._slots, SPAN) else None

    def clear(self) -> None:
        """Forget all samples; what is usual stays."""
        self._samples.clear()

    def samples(self) -> tuple[Sample, ...]:
        """The samples there are, oldest first."""
        return tuple(self._samples)
