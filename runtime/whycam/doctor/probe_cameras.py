"""Opens cameras as the service does, all at once, and takes some frames of each."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from whycam.sources.uri import is_live, open_source

_FRAMES = 60
_SECONDS = 1.5
"""So long, at most, frames are counted."""


def look(cameras: Sequence[dict[str, str]], seconds: float) -> Iterator[dict[str, Any]]:
    """What each of `cameras` (`name`, `source`) shows, as soon as it is known; a camera that hangs is left out."""
    found: queue.Queue[dict[str, Any]] = queue.Queue()
    for camera in cameras:
        threading.Thread(target=_look, args=(camera, seconds, found), daemon=True).start()
    for _ in cameras:
        yield found.get()


def _look(camera: dict[str, str], seconds: float, found: queue.Queue[dict[str, Any]]) -> None:
    try:
        answer = _seen(camera["source"], seconds)
    except Exception as error:
        answer = {"problem": " ".join(str(error).split()) or type(error).__name__}
    found.put({"camera": camera["name"], **answer})


def _seen(source: str, seconds: float) -> dict[str, Any]:
    began = time.monotonic()
    with closing(open_source(source, seconds if is_live(source) else None)) as frames:
        first = next(frames)
        opened = time.monotonic()
        times = [first.time]
        for frame in frames:
            times.append(frame.time)
            if len(times) >= _FRAMES or time.monotonic() - opened >= _SECONDS:
                break
    length = times[-1] - times[0]
    height, width = first.image.shape[:2]
    return {
        "problem": None,
        "width": width,
        "height": height,
        "seconds_to_open": round(opened - began, 2),
        "fps": round((len(times) - 1) / length, 2) if length > 0 else None,
        "black": bool(first.image.max() < 16),
    }
