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

from whycam.errors import InputError
from whycam.libraries import OPENCV, needs
from whycam.sources.capture import Capture, open_capture
from whycam.sources.frame import Frame
from whycam.sources.live import live_frames

log = logging.getLogger(__name__)

SECONDS = 10.0
"""How long a camera of this device may take to open, and send nothing."""
MOST_HANGING = 4
"""Pipelines of a camera that hang and cannot be ended; with so many, none is begun until one of them comes back."""

DECODER = "WHYCAM_DECODER"
"""The environment variable that keeps cameras off NVIDIA's decoder: `cpu`."""

# Asking gst-inspect-1.0 would start a process that may look through all plugins, and it may not be installed.
_DECODER_PLUGIN = Path("/usr/lib/aarch64-linux-gnu/gstreamer-1.0/libgstnvvideo4linux2.so")

_SHARE = 2 / 3
"""Of the time that a camera may take, what is NVIDIA's decoder's: the rest is left to the CPU."""

Answer = tuple[bool, NDArray[np.uint8] | None]

_hanging: dict[str, list[threading.Thread]] = {}


class Pipeline:
    """A pipeline in a thread of its own, so that a call that hangs can be given up.

    OpenCV's own limits do not do: 4.6 takes none for GStreamer; 4.8 sets them when the pipeline has opened, and stops a
    live one by it for good. A thread that is given up releases the pipeline when its call comes back.
    """

    def __init__(self, text: str, seconds: float = SECONDS, open_seconds: float | None = None) -> None:
        """Open the pipeline `text`; its first picture may take `open_seconds`, by default as each other, `seconds`."""
        self._text = text
        self._seconds = seconds
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="GStreamer", daemon=True)
        self._first: Answer | None = None
        _hanging[text] = [thread for thread in _hanging.get(text, ()) if thread.is_alive()]
        self._hangs = len(_hanging[text]) >= MOST_HANGING
        if not self._hangs:
            self._thread.start()
            self._first = self._answer(seconds if open_seconds is None else open_seconds)
        self.opened = self._first is not None and self._first[0]
        """Whether it has given a picture."""

    def read(self) -> Answer:
        """Whether there is another picture, and it, NV12 as in `Frame.pixels`, as OpenCV's capture answers."""
        first, self._first = self._first, None
        if first is not None:
            return first
        return (False, None) if self._hangs else self._answer(self._seconds)

    def release(self) -> None:
        """Close the pipeline: at once, or when the call that hangs comes back."""
        self._asked.put(False)
        if not self._hangs:
            self._thread.join(self._seconds)

    def _answer(self, seconds: float) -> Answer:
        self._asked.put(True)
        try:
            return self._answers.get(timeout=seconds)
        except queue.Empty:
            self._hangs = True
            _hanging[self._text].append(self._thread)
            return False, None

    def _run(self) -> None:
        capture = open_capture(self._text, "GSTREAMER")
        while self._asked.get():
            self._answers.put((False, None) if capture is None else _read(capture))
        if capture is not None:
            capture.release()


def _read(capture: Capture) -> Answer:
    import cv2

    try:
        found, image = capture.read()
    except cv2.error:
        # A layout that OpenCV does not take.
        return False, None
    # NV12 has half as many rows of colours as of luma, and two by two pixels of one colour.
    whole = found and image.ndim == 2 and image.shape[0] % 3 == 0 and image.shape[1] % 2 == 0
    return (True, np.asarray(image, np.uint8)) if whole else (False, None)


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

    Where there is none, or it gives no picture in its share of `seconds`, those of `by_cpu`, called with what is left.
    """
    if not has_decoder():
        return by_cpu(seconds)
    began = time.monotonic()
    capture = Pipeline(pipeline, seconds, _SHARE * seconds)
    if capture.opened:
        log.info("%s: decoded by NVIDIA's decoder", name)
        return live_frames(name, capture)
    capture.release()
    frames = by_cpu(seconds - (time.monotonic() - began))
    log.warning("%s: not decoded by NVIDIA's decoder, which does not take it, but by the CPU", name)
    return frames
