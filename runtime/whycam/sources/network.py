"""Network cameras: RTSP, and MJPEG over HTTP."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from whycam.errors import SourceError
from whycam.libraries import OPENCV, needs
from whycam.sources import gstreamer
from whycam.sources.capture import open_capture
from whycam.sources.frame import Frame
from whycam.sources.live import live_frames
from whycam.sources.pipeline import decoded

OPEN_SECONDS = 10.0
"""How long a camera may take to answer."""
READ_SECONDS = 10.0
"""How long a camera may send nothing."""

# TCP: UDP loses packets, and a lost packet smears the picture until the next key frame. No probing for the frame rate:
# FFmpeg would take 20 frames for it, seconds at each opening, and frames have the times of their arrival.
_OPTIONS = ("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp|fpsprobesize;0")


_users = 0
_users_lock = threading.Lock()


def open_network(url: str, timeout_seconds: float | None = None) -> Generator[Frame, None, None]:
    """The frames of the camera at `url`, over TCP, times in seconds since the epoch, as they arrive.

    On a Jetson with NVIDIA's decoder RTSP goes through it. Elsewhere FFmpeg decodes, and
    `OPENCV_FFMPEG_CAPTURE_OPTIONS` in the environment replaces what is chosen for it here.

    Raises SourceError where the camera does not answer within `timeout_seconds`, by default OPEN_SECONDS, refuses or
    gives no picture, and later when it sends nothing for `timeout_seconds`, by default READ_SECONDS. No message holds
    the credentials in `url`.
    """
    name = without_credentials(url)
    open_seconds, read_seconds = timeout_seconds or OPEN_SECONDS, timeout_seconds or READ_SECONDS

    def by_cpu(seconds: float) -> Generator[Frame, None, None]:
        with needs(OPENCV):
            import cv2
        limits = (
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(seconds * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(read_seconds * 1000)),
        )
        with _default_setting(*_OPTIONS):
            capture = open_capture(url, "FFMPEG", limits)
        if capture is None:
            raise SourceError(
                f"{name}: no camera answers there (waited up to {open_seconds:g} s); "
                "check address, path, user name and password"
            )
        return live_frames(name, capture)

    # rtsps stays with FFmpeg, which takes the certificates that cameras sign themselves.
    if not url.lower().startswith("rtsp://"):
        return by_cpu(open_seconds)
    return decoded(name, gstreamer.rtsp(url, open_seconds), open_seconds, by_cpu)


def without_credentials(url: str) -> str:
    """`url` without user name, password and query, which may hold a password too, as messages show it."""
    scheme, separator, rest = url.partition("://")
    # The last @ counts, wherever it stands: a password may hold unescaped @, / and ?.
    rest = rest.rpartition("@")[2]
    # Some cameras take them in the path: /user=me_password=secret_channel=1
    rest = re.sub(r"(?i)\b(\w*(?:user|login|pass|pwd|token)\w*?=)[^/&?#]*", r"\1***", rest)
    for mark in "?#":
        rest = rest.partition(mark)[0]
    return f"{scheme}{separator}{rest}"


@contextmanager
def _default_setting(variable: str, value: str) -> Iterator[None]:
    # Cameras are opened in threads of their own: the first to come sets it, the last to go takes it back.
    global _users
    with _users_lock:
        _users += 1
        ours = os.environ.setdefault(variable, value) == value
    try:
        yield
    finally:
        with _users_lock:
            _users -= 1
            if _users == 0 and ours:
                os.environ.pop(variable, None)
