"""Cameras on a Jetson's CSI connector, through GStreamer and NVIDIA's Argus."""

from __future__ import annotations

from collections.abc import Generator

from whycam.errors import SourceError
from whycam.sources import gstreamer
from whycam.sources.frame import Frame
from whycam.sources.live import live_frames
from whycam.sources.pipeline import SECONDS, Pipeline, has_gstreamer

WIDTH, HEIGHT, FPS = 1280, 720, 30

_INSTALL = (
    "pip uninstall -y opencv-python opencv-python-headless && sudo apt-get install -y nvidia-opencv"
    " && python3 -m venv --system-site-packages --upgrade VENV"
)


def open_csi(sensor: str, timeout_seconds: float | None = None) -> Generator[Frame, None, None]:
    """The frames of CSI camera number `sensor`, 1280 x 720 at 30 per second, times in seconds since the epoch.

    Raises SourceError where OpenCV has no GStreamer, or the camera gives no picture for `timeout_seconds`, by default
    SECONDS.
    """
    if not sensor.isdecimal():
        raise SourceError(f"csi://{sensor}: the camera's number is missing; give one, such as csi://0")
    name = f"csi://{int(sensor)}"
    if not has_gstreamer():
        raise SourceError(
            f"{name}: this OpenCV is built without GStreamer; on the Jetson, use JetPack's own in a virtual environment"
            f" that sees the system's packages: `{_INSTALL}`"
        )
    capture = Pipeline(gstreamer.csi(int(sensor), WIDTH, HEIGHT, FPS), timeout_seconds or SECONDS)
    if not capture.opened:
        capture.release()
        raise SourceError(
            f"{name}: the camera does not open; check its cable and "
            "`gst-launch-1.0 nvarguscamerasrc ! fakesink`, or run `sudo systemctl restart nvargus-daemon`"
        )
    return live_frames(name, capture)
