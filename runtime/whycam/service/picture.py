"""Pictures that tell nothing: frozen or black, as against a quiet scene."""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Fault = Literal["frozen", "black"]

_DARK = 20
"""Of 255: below this a picture may be black; a dark scene still has contrast, or the noise of its sensor."""
_SPREAD = 4
"""Of 255: the brightness by which a black picture's dark and light parts may differ."""
_BLACK = np.uint8(16)
"""The luma of black in video."""
_CELLS = 64
"""Rows and columns of the grid of pixels that is looked at."""


class PictureWatch:
    """Watches a camera's frames, in constant memory, at a fraction of a millisecond each.

    Frozen: the very same pixels for `frozen_seconds`. A quiet scene is not: a sensor's noise and a codec's key frames
    change some of the pixels that are looked at. Black: no light and no contrast for `black_seconds`. A fault is told
    until the picture lives again. 0 seconds: never.
    """

    def __init__(self, frozen_seconds: float, black_seconds: float) -> None:
        """Nothing seen yet."""
        self._frozen_seconds = frozen_seconds
        self._black_seconds = black_seconds
        self._digest: int | None = None
        self._same_since = 0.0
        self._black_since: float | None = None

    def push(self, pixels: NDArray[np.uint8], time: float) -> Fault | None:
        """What is wrong with the picture at `time` (seconds), a frame's pixels (see `Frame`); None where nothing is."""
        # Of NV12 the luma says enough.
        image = pixels if pixels.ndim == 3 else pixels[: len(pixels) * 2 // 3]
        height, width = image.shape[:2]
        grid = image[:: max(1, height // _CELLS), :: max(1, width // _CELLS)]
        digest = zlib.crc32(grid.tobytes())
        if digest != self._digest:
            self._digest, self._same_since = digest, time
        if grid.ndim == 3:
            # Several times as fast as the maximum along an axis of three.
            light = np.maximum(np.maximum(grid[..., 0], grid[..., 1]), grid[..., 2])
        else:
            light = np.maximum(grid, _BLACK) - _BLACK
        dark, bright = np.percentile(light, (2, 98))
        if bright < _DARK and bright - dark < _SPREAD:
            self._black_since = time if self._black_since is None else self._black_since
        else:
            self._black_since = None
        # Black first: a black picture may be frozen too, and its cause is another.
        if self._black_since is not None and 0 < self._black_seconds <= time - self._black_since:
            return "black"
        if 0 < self._frozen_seconds <= time - self._same_since:
            return "frozen"
        return None
