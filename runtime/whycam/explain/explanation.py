"""The value that an explanation is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam.cuda.array import Picture


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a window was scored as it was: when, where, and for which question."""

    heatmaps: NDArray[np.float32]
    """[T, h, w], where: non-negative, one scale for the whole window; nought in frames that are not in `explained`."""
    relevance: NDArray[np.float32]
    """[T], when: each frame's share, summing to 1; all 0 where no frame speaks for the label."""
    times: NDArray[np.float64]
    """[T], seconds, on the clock of the frames pushed; a frame held for several slots has its time repeated."""
    label: str
    """The class that is explained."""
    method: str
    """Where: one of `whycam.explain.METHODS`."""
    time: str
    """When: one of `whycam.explain.TIME_METHODS`."""
    versus: str | None
    """The class it is contrasted with; None where the label's logit alone is explained."""
    counter: bool
    """Whether it shows what speaks against the label instead of what speaks for it."""
    reference: str
    """What the window was seen against: `usual`, what the camera usually shows, or `none`."""
    explained: tuple[int, ...]
    """The frames that have heat maps, in the window's order."""
    pictures: Sequence[Picture]
    """T of [H, W, 3] BGR, the window's frames at the model's size, where they lie."""

    @property
    def frames(self) -> NDArray[np.uint8]:
        """[T, H, W, 3] BGR, the window's frames at the model's size, on the host."""
        return np.stack([np.asarray(picture) for picture in self.pictures])

    @property
    def order(self) -> list[int]:
        """The explained frames, most relevant first.

        Of equal ones the newest: where none speaks for the label, that is the one that was decided on.
        """
        return sorted(self.explained, key=lambda index: (-self.relevance[index], -index))
