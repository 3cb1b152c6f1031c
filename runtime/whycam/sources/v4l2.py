"""Cameras of Video4Linux: USB cameras, mostly."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

from whycam.errors import SourceError
from whycam.sources import gstreamer
from whycam.sources.capture import open_capture
from whycam.sources.frame import Frame
from whycam.sources.live import live_frames
from whycam.sources.pipeline import SECONDS, decoded

WIDTH, HEIGHT, FPS = 640, 480, 30
"""What OpenCV asks a camera for by itself: whoever decodes, the picture has the same size."""


def open_v4l2(device: str, timeout_seconds: float | None = None) -> Generator[Frame, None, None]:
    """The frames of the camera `device` (such as `/dev/video0`), times in seconds since the epoch, as they arrive.

    On a Jetson with NVIDIA's decoder a camera that sends MJPEG is decoded by it, as long as it gives a picture within
    `timeout_seconds`, by default SECONDS.

    Raises SourceError where there is no such device, it may not be read, or it gives no picture.
    """
    if not device:
        raise SourceError("v4l2: no device named; give one, such as v4l2:/dev/video0")
    path = Path(device)
    if not path.exists():
        present = ", ".join(str(node) for node in sorted(Path("/dev").glob("video*"))) or "none"
        raise SourceError(f"v4l2:{device}: no such device (present: {present})")
    if not path.is_char_device():
        raise SourceError(f"v4l2:{device}: not a camera device; give one, such as v4l2:/dev/video0")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(f"v4l2:{device}: no permission; run `sudo usermod -aG video $USER` and log in again")
    name = f"v4l2:{device}"

    def by_cpu(_seconds: float) -> Generator[Frame, None, None]:
        capture = open_capture(device, "V4L2")
        if capture is None:
            raise SourceError(f"{name}: does not open; it is in use, or no camera (see `v4l2-ctl --list-devices`)")
        return live_frames(name, capture)

    return decoded(name, gstreamer.v4l2(device, WIDTH, HEIGHT, FPS), timeout_seconds or SECONDS, by_cpu)
