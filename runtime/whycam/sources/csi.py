"""Cameras on a Jetson's CSI connector, through GStreamer and NVIDIA's Argus."""

from __future__ import annotations

import re
from collections.abc import Generator

from whycam.errors import SourceError
from whycam.libraries import OPENCV, needs
from whycam.sources.capture import open_capture
from whycam.sources.frame import Frame
from whycam.sources.live import live_frames

# The image processor scales and converts; only small BGRx frames reach the CPU. The newest frame wins.
_PIPELINE = (
    "nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM), width=1280, height=720, framerate=30/1 ! "
    "nvvidconv ! video/x-raw, format=BGRx ! videoconvert ! video/x-raw, format=BGR ! "
    "appsink drop=true max-buffers=1 sync=false"
)

_INSTALL = (
    "pip uninstall -y opencv-python opencv-python-headless && sudo apt-get install -y nvidia-opencv"
    " && python3 -m venv --system-site-packages --upgrade VENV"
)


def open_csi(sensor: str) -> Generator[Frame, None, None]:
    """The frames of CSI camera number `sensor`, 1280 x 720 at 30 per second, times in seconds since the epoch.

    Raises SourceError where OpenCV has no GStreamer, or the camera gives no picture.
    """
    if not sensor.isdecimal():
        raise SourceError(f"csi://{sensor}: the camera's number is missing; give one, such as csi://0")
    name = f"csi://{int(sensor)}"
    if not _has_gstreamer():
        raise SourceError(
            f"{name}: this OpenCV is built without GStreamer; on the Jetson, use JetPack's own in a virtual environment"
            f" that sees the system's packages: `{_INSTALL}`"
        )
    capture = open_capture(_PIPELINE.format(sensor=int(sensor)), "GSTREAMER")
    if capture is None:
        raise SourceError(
            f"{name}: the camera does not open; check its cable and "
            "`gst-launch-1.0 nvarguscamerasrc ! fakesink`, or run `sudo systemctl restart nvargus-daemon`"
        )
    return live_frames(name, capture)


def _has_gstreamer() -> bool:
    with needs(OPENCV):
        import cv2
    return re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()) is not None
