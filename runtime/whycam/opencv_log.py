"""OpenCV's own log, silenced where an error of whycam's says more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

SILENT = 0


@contextmanager
def opencv_silent() -> Iterator[None]:
    """Keep OpenCV from writing on the process's stderr inside the `with` statement."""
    set_level, level = _log_level()
    set_level(SILENT)
    try:
        yield
    finally:
        set_level(level)


def _log_level() -> tuple[Callable[[int], object], int]:
    """(the function that sets the level, the level now): OpenCV 5 moved them, and JetPack brings OpenCV 4."""
    import cv2

    set_level, get_level = getattr(cv2, "setLogLevel", None), getattr(cv2, "getLogLevel", None)
    if set_level is not None and get_level is not None:
        return set_level, int(get_level())
    from cv2.utils import logging

    return logging.setLogLevel, logging.getLogLevel()
