"""GStreamer pipelines that end in NV12, read through OpenCV; and those with NVIDIA's decoder, where there is one."""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whycam.errors import InputError, SourceError
from whycam.libraries import OPENCV, needs
from whycam.sources.capture import Capture, open_capture
from whycam.sources.frame import Frame
from whycam.sources.live import live_frames

log = logging.getLogger(__name__)

SECONDS = 10.0
"""How long a camera of this device may take to open, and send nothing."""

DECODER = "WHYCAM_DECODER"
"""The environment variable that keeps cameras off NVIDIA's decoder: `cpu`."""

# Asking gst-inspect-1.0 would start a process that may look through all plugins, and it may not be installed.
_DECODER_PLUGIN = Path("/usr/lib/aarch64-linux-gnu/gstreamer-1.0/libgstnvvideo4linux2.so")

Answer = tuple[bool, NDArray[np.uint8] | None]


class Pipeline:
    """A pipeline in a thread of its own, so that a call that hangs can be given up.

    OpenCV's own limits do not do: 4.6 takes none for GStreamer; 4.8 sets them when the pipeline has opened, and stops a
    live one by it for good. A thread that is given up releases the pipeline when its call comes back.
    """

    def __init__(self, text: str, seconds: float = SECONDS) -> None:
        """Open the pipeline `text`; each call may take `seconds`."""
        self._seconds = seconds
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(text,), name="GStreamer", daemon=True)
        self._thread.start()
        self.opened = self._answer()[0]

    def read(self) -> Answer:
        """Whether there is another picture, and it, uint8 [H, W, 3] BGR, as OpenCV's capture answers."""
        if not self.opened:
            return False, None
        self._asked.put(True)
        return self._answer()

    def release(self) -> None:
        """Close the pipeline: at once, or when the call that hangs comes back."""
        self._asked.put(False)
        if self.opened:
            self._thread.join(self._seconds)

    def _answer(self) -> Answer:
        try:
            return self._answers.get(timeout=self._seconds)
        except queue.Empty:
            self.opened = False
            return False, None

    def _run(self, text: str) -> None:
        capture = open_capture(text, "GSTREAMER")
        self._answers.put((capture is not None, None))
        if capture is None:
            return
        while self._asked.get():
            self._answers.put(_read(capture))
        capture.release()


def _read(capture: Capture) -> Answer:
    import cv2

    try:
        found, image = capture.read()
        return (True, from_nv12(np.asarray(image, np.uint8))) if found else (False, None)
    except cv2.error:
        # A layout that OpenCV does not take, or NV12 of an odd size.
        return False, None


def from_nv12(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The BGR picture, uint8 [H, W, 3], of `image`: uint8 [H * 3/2, W], the luma's rows and then the colours'.

    With BT.601's matrix, as OpenCV 4, which is JetPack's, converts what FFmpeg decodes: either way it looks the same.
    """
    import cv2

    return np.asarray(cv2.cvtColor(image, cv2.COLOR_YUV2BGR_NV12), np.uint8)


def has_gstreamer() -> bool:
    """Whether this OpenCV is built with GStreamer. Raises MissingDependencyError without OpenCV."""
    with needs(OPENCV):
        import cv2
    return re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()) is not None


def has_decoder() -> bool:
    """Whether cameras are decoded by NVIDIA's decoder here. Raises InputError where `WHYCAM_DECODER` is not `cpu`."""
    wanted = os.environ.get(DECODER)
    if wanted not in (None, "", "cpu"):
        raise InputError(f"{DECODER}={wanted}: no such decoder; give cpu, or leave it unset")
    return wanted != "cpu" and _DECODER_PLUGIN.exists() and has_gstreamer()


def decoded(
    name: str, pipeline: str, seconds: float, by_cpu: Callable[[float], Generator[Frame, None, None]]
) -> Generator[Frame, None, None]:
    """The frames of a camera that `name` shows to the user, through `pipeline`, which has NVIDIA's decoder.

    Where there is none, or the pipeline does not open, those of `by_cpu`, which is called with the rest of `seconds`.
    """
    if not has_decoder():
        return by_cpu(seconds)
    began = time.monotonic()
    try:
        frames = live_frames(name, Pipeline(pipeline, seconds))
    except SourceError:
        frames = by_cpu(max(seconds - (time.monotonic() - began), 1.0))
        log.warning("%s: not decoded by NVIDIA's decoder, which does not take it, but by the CPU", name)
    else:
        log.info("%s: decoded by NVIDIA's decoder", name)
    return frames
