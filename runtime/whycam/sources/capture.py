"""OpenCV's capture: opened quietly, with a deadline, read frame by frame."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from whycam.libraries import OPENCV, needs
from whycam.opencv_log import opencv_silent

if TYPE_CHECKING:
    import cv2

Backend = Literal["FFMPEG", "GSTREAMER", "V4L2"]

# FFmpeg's AV_LOG_QUIET. OpenCV reads the variable at its first capture: a user's own setting stands.
_QUIET = ("OPENCV_FFMPEG_LOGLEVEL", "-8")


class Capture(Protocol):
    """What frames are read from: OpenCV's capture, or one that answers as it does."""

    def read(self) -> tuple[bool, Any]:
        """Whether there is another picture, and it, as in `Frame.pixels`."""

    def release(self) -> None:
        """Give the source back."""


def open_capture(place: str, backend: Backend, options: Sequence[int] = ()) -> cv2.VideoCapture | None:
    """OpenCV's capture of `place`, or None where it does not open; nothing is written to stderr.

    Raises MissingDependencyError without OpenCV.
    """
    with needs(OPENCV):
        import cv2
    os.environ.setdefault(*_QUIET)
    with opencv_silent():
        try:
            capture = cv2.VideoCapture(place, getattr(cv2, f"CAP_{backend}"), list(options))
        except cv2.error:
            return None
        if not capture.isOpened():
            capture.release()
            return None
        return capture


def read_image(capture: Capture) -> NDArray[np.uint8] | None:
    """The capture's next picture, as in `Frame.pixels`, or None at its end."""
    with opencv_silent():
        found, image = capture.read()
    if not found or image is None:
        return None
    return np.asarray(image, dtype=np.uint8)
