"""Augmentation: copies of a window that are brighter or darker, mirrored, zoomed; all its frames alike.

The three changes of the paper. A change is the same for a window's frames, so that motion stays motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whycam.detect.resize import resize

Frames = npt.NDArray[np.uint8]

BRIGHTNESS = (0.7, 1.3)
"""Range of the factor on pixel values."""
LARGEST_ZOOM = 1.25


@dataclass(frozen=True)
class Change:
    """What is done to each frame of a window."""

    brightness: float
    flip: bool
    zoom: float
    """At least 1: how much a part of the frame is enlarged."""
    x: float
    """Where that part lies: 0 at the left, 1 at the right."""
    y: float
    """0 at the top, 1 at the bottom."""

    @classmethod
    def drawn(cls, generator: np.random.Generator) -> Change:
        """A change drawn by `generator`."""
        return cls(
            brightness=float(generator.uniform(*BRIGHTNESS)),
            flip=bool(generator.random() < 0.5),
            zoom=float(generator.uniform(1.0, LARGEST_ZOOM)),
            x=float(generator.random()),
            y=float(generator.random()),
        )

    def apply(self, window: Frames) -> Frames:
        """`window` uint8 [T, H, W, 3], changed; of the same shape."""
        height, width = window.shape[1:3]
        rows, columns = round(height / self.zoom), round(width / self.zoom)
        top, left = round(self.y * (height - rows)), round(self.x * (width - columns))
        part = window[:, top : top + rows, left : left + columns]
        if self.flip:
            part = part[:, :, ::-1]
        lit = np.clip(part * np.float32(self.brightness) + 0.5, 0, 255).astype(np.uint8)
        return np.stack([resize(np.ascontiguousarray(frame), height, width) for frame in lit])


def augmented(windows: Frames, clip_digest: str, copy: int) -> Frames:
    """Copy number `copy` of a clip's windows, uint8 [N, T, H, W, 3]; copy 0 is the original.

    The draw depends on the clip's content and the copy's number alone, so that another seed of training finds the
    copies' features in the cache.
    """
    if copy == 0:
        return windows
    generator = np.random.default_rng([copy, int(clip_digest[:16], 16)])
    return np.stack([Change.drawn(generator).apply(window) for window in windows])
