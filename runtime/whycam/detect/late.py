"""Graphs that not every frame needs: opened when they are asked for, let go when nobody asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from whycam.detect.sessions import Graph


class LateGraph:
    """A graph that is opened when it is first asked for, and once it was let go again. Safe for several threads."""

    def __init__(self, make: Callable[[], Graph]) -> None:
        """`make` opens it."""
        self._make = make
        self._graph: Graph | None = None
        self._asked = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> Graph:
        """The graph, opened where it is not."""
        with self._lock:
            if self._graph is None:
                self._graph = self._make()
            self._asked = time.monotonic()
            return self._graph

    def let_go(self, idle_seconds: float) -> bool:
        """Close it where nobody has asked for so long; whether that was done. Who runs it still, keeps it meanwhile.

        Never waits: one that is being opened is asked for.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._graph is None or time.monotonic() - self._asked < idle_seconds:
                return False
            self._graph = None
            return True
        finally:
            self._lock.release()
