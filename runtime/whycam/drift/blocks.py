"""Blocks of a stream: what half a minute of it is like on the mean, in constant memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.detect.ring import Sample
from whycam.detect.sampling import EARLY
from whycam.drift.signs import Look, Vector, lean_of, look_of

_COMPUTED = 8
"""A block lasts until so many of its samples have features of their own, where it would have so many without a gate."""


@dataclass(frozen=True, eq=False)
class Block:
    """The means over a stretch of a stream without a gap."""

    start: float
    """Seconds, of its first sample."""
    end: float
    """Seconds, of its last sample."""
    tones: Vector
    """Brightness, contrast and sharpness."""
    lean: float
    edges: NDArray[np.float32]
    """[cells]"""
    features: NDArray[np.float32]
    """[F]"""


class BlockMeans:
    """Gathers samples into blocks.

    The mean is over time: a sample that the motion gate held stands for what the camera showed, and counts. But one
    picture's noise that is held for long is not averaged out, so a block lasts on until it has enough samples with
    features of their own. What a gap or a cold window cuts off is forgotten.
    """

    def __init__(self, seconds: float, manifest: Manifest) -> None:
        """Blocks of `seconds`, of the model in `manifest`."""
        self._seconds = seconds
        self._manifest = manifest
        self._interval = manifest.window.frame_interval
        self._computed_wanted = min(_COMPUTED, max(1, int(seconds / self._interval)))
        self._last: Sample | None = None
        self.cut()

    def cut(self) -> None:
        """There is a gap, or the window is cold: begin anew."""
        self._count = self._computed = 0
        self._look = Look(np.zeros(3), np.zeros(0, dtype=np.float32))
        self._lean = 0.0
        self._features = np.zeros(self._manifest.features, dtype=np.float64)

    def push(self, sample: Sample, scores: Mapping[str, float]) -> Block | None:
        """Take the newest sample of a full window, and its scores; the block that it completes, if it does."""
        last, self._last = self._last, sample
        if self._count and last is not None:
            longest = self._manifest.window.max_gap + EARLY * self._interval
            if not 0 <= sample.time - last.time <= longest:
                self.cut()
        if self._count == 0:
            self._start = sample.time
        look = look_of(np.asarray(sample.image))
        self._look = Look(self._look.tones + look.tones, self._look.edges + look.edges) if self._count else look
        self._lean += lean_of(scores, self._manifest)
        self._features += np.asarray(sample.features)
        self._count += 1
        self._computed += last is None or sample.features is not last.features
        # A sample stands for the interval after it.
        lasted = sample.time - self._start + self._interval
        if lasted < self._seconds - EARLY * self._interval or self._computed < self._computed_wanted:
            return None
        block = Block(
            self._start,
            sample.time,
            self._look.tones / self._count,
            self._lean / self._count,
            (self._look.edges / self._count).astype(np.float32),
            (self._features / self._count).astype(np.float32),
        )
        self.cut()
        return block
