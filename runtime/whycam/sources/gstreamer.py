"""GStreamer pipelines for a Jetson, as OpenCV takes them: decoded and scaled by its engines, delivered as NV12.

GStreamer keeps what those engines give in NVMM memory, which OpenCV's appsink cannot hand on. NV12 is what crosses into
the CPU's memory at the least cost: 1.5 bytes per pixel where BGRx has 4. And only a frame that is taken is converted to
BGR; videoconvert would convert those too that appsink drops.
"""

from __future__ import annotations

import os
import re
import string
from urllib.parse import unquote

# The newest frame wins: one that was not taken when the next comes is dropped.
_LIVE_NV12 = "nvvidconv ! video/x-raw, format=NV12 ! appsink drop=true max-buffers=1 sync=false"

# As FFmpeg splits an address: the last @ before the path counts.
_CREDENTIALS = re.compile(r"(rtsp://)([^:/?#]*)(?::([^/?#]*))?@", re.IGNORECASE)

_PLAIN = frozenset((string.ascii_letters + string.digits + "_-+/:.").encode())


def csi(sensor: int, width: int, height: int, fps: int) -> str:
    """The pipeline for CSI camera number `sensor`, in pixels and frames per second."""
    size = f"width={width}, height={height}, framerate={fps}/1"
    return f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM), {size} ! {_LIVE_NV12}"


def rtsp(url: str, timeout_seconds: float) -> str:
    """The pipeline for the camera at `url` over TCP, whose answers may take so long; it holds the credentials in `url`.

    Its codec is known only when the camera has answered, so decodebin chooses. It takes NVIDIA's decoder, which ranks
    highest; a decoder on the CPU gives no NVMM memory, and the pipeline does not open rather than run on one.
    """
    login = ""
    found = _CREDENTIALS.match(url)
    if found is not None:
        # Apart from the address: rtspsrc would take the first @ for its end, and a password may hold one.
        user, password = quoted(unquote(found[2])), quoted(unquote(found[3] or ""))
        url, login = found[1] + url[found.end() :], f" user-id={user} user-pw={password}"
    # TCP keeps the order of packets: waiting for late ones (latency) would gain nothing.
    return (
        f"rtspsrc location={quoted(url)}{login} protocols=tcp latency=0 tcp-timeout={round(timeout_seconds * 1e6)} ! "
        f"application/x-rtp, media=video ! decodebin ! video/x-raw(memory:NVMM) ! {_LIVE_NV12}"
    )


def v4l2(device: str, width: int, height: int, fps: int) -> str:
    """The pipeline for a camera that sends MJPEG, such as `/dev/video0`, in pixels and frames per second."""
    size = f"width={width}, height={height}, framerate={fps}/1"
    return f"v4l2src device={quoted(device)} ! image/jpeg, {size} ! nvv4l2decoder mjpeg=1 ! {_LIVE_NV12}"


def quoted(value: str) -> str:
    r"""`value` as a property of type string: whatever it holds, it stays that property's value.

    A pipeline is read twice. Its parser ends a word at a space, and takes the backslash from before any character; what
    is then left in quotes is read as GStreamer writes strings, where `\ooo` is a byte in octal. So quotes and
    backslashes get a backslash for the parser, and all bytes that could mean something are octal.
    """
    return r"\"{}\"".format("".join(chr(byte) if byte in _PLAIN else rf"\\{byte:03o}" for byte in os.fsencode(value)))
