"""A camera's last seconds, as small JPEG pictures: what evidence and heat maps are made from."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
from numpy.typing import NDArray

from whycam.libraries import OPENCV, needs

_QUALITY = 80
_MOST_FRAMES = 1200
_SAME_SECONDS = 0.001


class Footage:
    """Keeps the frames of the last `seconds`, no wider than `max_width` pixels. Safe for several threads."""

    def __init__(self, seconds: float, max_width: int = 640) -> None:
        """Nothing yet; with 0 seconds nothing ever."""
        self._seconds = seconds
        self._max_width = max_width
        self._frames: deque[tuple[float, bytes]] = deque(maxlen=_MOST_FRAMES)
        self._lock = threading.Lock()

    def add(self, image: NDArray[np.uint8], time: float) -> None:
        """Keep `image`, uint8 [H, W, 3] BGR, of `time` (seconds)."""
        if self._seconds <= 0:
            return
        with needs(OPENCV):
            import cv2
        height, width = image.shape[:2]
        if width > self._max_width:
            size = (self._max_width, max(1, round(height * self._max_width / width)))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        done, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not done:
            return
        with self._lock:
            self._frames.append((time, bytes(jpeg)))
            while self._frames and not 0 <= time - self._frames[0][0] <= self._seconds:
                self._frames.popleft()

    def frames(self) -> list[tuple[float, bytes]]:
        """Times in seconds and JPEG pictures, oldest first."""
        with self._lock:
            return list(self._frames)

    def at(self, time: float) -> NDArray[np.uint8] | None:
        """The frame of `time`, uint8 [H, W, 3] BGR; None where it is not kept."""
        with needs(OPENCV):
            import cv2
        for moment, jpeg in reversed(self.frames()):
            if abs(moment - time) <= _SAME_SECONDS:
                picture = cv2.imdecode(np.frombuffer(jpeg, dtype=np.uint8), cv2.IMREAD_COLOR)
                return None if picture is None else np.asarray(picture, dtype=np.uint8)
        return None
