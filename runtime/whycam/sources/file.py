"""Video files: every frame, at the time that the container gives it."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whycam.errors import SourceError
from whycam.sources.capture import open_capture, read_image
from whycam.sources.frame import Frame

if TYPE_CHECKING:
    import cv2

log = logging.getLogger(__name__)

FALLBACK_FPS = 25.0
"""Taken for a file that has neither time stamps nor a frame rate."""

_SHORTFALL = 0.02
"""Containers without a frame count have it guessed from their length: a smaller shortfall says nothing."""


def open_file(path: Path) -> Generator[Frame, None, None]:
    """The frames of the video at `path`, times in seconds from its start.

    A frame whose time stamp is missing, or not after the one before, is placed one frame period after it. A file that
    breaks off before the number of frames that its container announces yields what can be decoded, then logs one
    warning.

    Raises SourceError at once where the file is missing, empty or no video with a decodable frame.
    """
    if not path.exists():
        raise SourceError(f"{path}: no such file")
    if path.is_dir():
        raise SourceError(f"{path}: a directory, not a video file")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if empty:
        raise SourceError(f"{path}: the file is empty; copy or record it again")

    # On a Jetson too: of what GStreamer decodes OpenCV 4.8 tells the time of the frame, or of the next, as it happens.
    capture = open_capture(str(path), "FFMPEG")
    first = None if capture is None else read_image(capture)
    if capture is None or first is None:
        raise SourceError(f"{path}: not a video that can be decoded; check that it plays, or record it again")
    return _frames(path, capture, first)


@dataclass(frozen=True)
class Announcement:
    """What a video's container says of it, None where it does not say; a damaged file holds less."""

    frames: int | None
    fps: float | None


def announcement(uri: str) -> Announcement:
    """What the container of the video file at `uri` says; nothing for a camera, or a file that does not open."""
    path = Path(uri)
    capture = open_capture(str(path), "FFMPEG") if path.is_file() else None
    return Announcement(None, None) if capture is None else _announcement(capture)


def _announcement(capture: cv2.VideoCapture) -> Announcement:
    import cv2

    frames, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    return Announcement(
        int(frames) if math.isfinite(frames) and frames > 0 else None, fps if math.isfinite(fps) and fps > 0 else None
    )


def _frames(path: Path, capture: cv2.VideoCapture, first: NDArray[np.uint8]) -> Generator[Frame, None, None]:
    import cv2

    try:
        announced = _announcement(capture)
        period = 1 / (announced.fps or FALLBACK_FPS)
        image: NDArray[np.uint8] | None = first
        count, time = 0, -math.inf
        while image is not None:
            stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if count == 0:
                time = stamp if math.isfinite(stamp) and stamp >= 0 else 0.0
            else:
                time = stamp if math.isfinite(stamp) and stamp > time else time + period
            yield Frame(image, time)
            count += 1
            image = read_image(capture)
        total = announced.frames
        if total is not None and count < total - max(1.0, _SHORTFALL * total):
            log.warning("%s: damaged or incomplete, %d of %d frames could be decoded", path, count, total)
    finally:
        capture.release()
