"""Memory that was used and is not any more, back to the system."""

from __future__ import annotations

import ctypes
import sys


def release_memory() -> None:
    """Give the system what the C library keeps of freed memory, where it is glibc: opening a graph needs several times
    its size, and a process that runs for months would hold on to that."""
    if sys.platform != "linux":
        return
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:  # another C library
        return
    trim(0)
