"""The motion gate: whether anything in the picture has moved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whycam.libraries import OPENCV, needs

_SIZE = 128
"""Pictures are compared at this size, in pixels."""
_BLOCKS = 16
"""Blocks in a row and in a column."""


class MotionGate:
    """Compares each picture with the last one that was let through, in blocks: slow motion adds up and is seen."""

    def __init__(self, threshold: float, refresh_seconds: float) -> None:
        """Motion is a block whose mean change is above `threshold`, of 1 from black to white; after `refresh_seconds` a
        picture is let through in any case."""
        self._threshold = threshold * 255
        self._refresh = refresh_seconds
        self._last: NDArray[np.float32] | None = None
        self._let_through = 0.0

    def still(self, image: NDArray[np.uint8], time: float) -> bool:
        """Whether nothing has moved in `image`, uint8 [H, W, 3] BGR, at `time` (seconds)."""
        with needs(OPENCV):
            import cv2
        small = cv2.resize(image, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
        side = _SIZE // _BLOCKS
        if self._last is not None and 0 <= time - self._let_through < self._refresh:
            change = np.abs(grey - self._last).reshape(_BLOCKS, side, _BLOCKS, side).mean(axis=(1, 3))
            if float(change.max()) <= self._threshold:
                return True
        self._last, self._let_through = grey, time
        return False
