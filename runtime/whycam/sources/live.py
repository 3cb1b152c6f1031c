"""What live sources have in common: frames as they arrive, stamped with the time of day."""

from __future__ import annotations

import time
from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from whycam.errors import SourceError
from whycam.sources.capture import Capture, read_image
from whycam.sources.frame import Frame


def live_frames(name: str, capture: Capture) -> Generator[Frame, None, None]:
    """The frames of a camera that `name` shows to the user, times in seconds since the epoch, as they arrive.

    A camera has no end: the generator raises SourceError when frames stop. The first frame is read at once, and
    SourceError raised at once where there is none.
    """
    first = read_image(capture)
    if first is None:
        capture.release()
        raise SourceError(f"{name}: opened, but gives no picture; check the camera")
    return _frames(name, capture, first, time.time())


def _frames(name: str, capture: Capture, image: NDArray[np.uint8], arrived: float) -> Generator[Frame, None, None]:
    try:
        while True:
            yield Frame(image, arrived)
            following = read_image(capture)
            if following is None:
                raise SourceError(f"{name}: the camera stopped sending; check it and its network, then open it again")
            image, arrived = following, time.time()
    finally:
        capture.release()
