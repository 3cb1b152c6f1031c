"""The value that an explanation is, and the frames' share in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a window was scored as it was: when, where, and for which question."""

    heatmaps: NDArray[np.float32]
    """[T, h, w], where: non-negative, in units of the target's logit, one scale for the whole window."""
    relevance: NDArray[np.float32]
    """[T], when: each frame's share, summing to 1; all 0 where no frame speaks for the label."""
    times: NDArray[np.float64]
    """[T], seconds, on the clock of the frames pushed; a frame held for several slots has its time repeated."""
    label: str
    """The class that is explained."""
    method: str
    """One of `grad-cam`, `hirescam`, `layercam`."""
    versus: str | None
    """The class it is contrasted with; None where the label's logit alone is explained."""
    frames: NDArray[np.uint8]
    """[T, H, W, 3] BGR, the window's frames at the model's size."""


def relevance(features: NDArray[np.float32], gradient: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each frame's share f32 [T] from features and their gradient f32 [T, F].

    Gradient times input (Shrikumar et al. 2016) summed over a frame's features; what speaks against the target counts
    as nothing.
    """
    support: NDArray[np.float32] = np.maximum((features * gradient).sum(axis=1), np.float32(0))
    total = float(support.sum())
    return support / np.float32(total) if total > 0 else support
