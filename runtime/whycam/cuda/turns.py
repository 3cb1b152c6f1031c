"""Turns on the GPU: who records a CUDA graph there is alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Any number of threads share, or one is alone.

    ONNX Runtime records a CUDA graph in the mode in which CUDA lets no thread of the process reserve or free memory
    meanwhile (`cudaStreamCaptureModeGlobal`), and what another thread asks of the same stream would be recorded with
    it. A recording that fails leaves the stream of no use.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sharing = 0
        self._taken = False
        self._mine = threading.local()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Beside others who share, as soon as nobody is alone; within a turn of one's own at once."""
        depth = getattr(self._mine, "depth", 0)
        if depth == 0:
            with self._changed:
                self._changed.wait_for(lambda: not self._taken)
                self._sharing += 1
        self._mine.depth = depth + 1
        try:
            yield
        finally:
            self._mine.depth = depth
            if depth == 0:
                with self._changed:
                    self._sharing -= 1

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Alone, where nobody has a turn now, and else shared; gives whether it is alone.

        It does not wait for others: one of them may build an engine for minutes.
        """
        # The thread knows of its turn before it is taken, and until it is given back: a session that a garbage
        # collection ends in between shares it, and would else wait for it for ever.
        with self._changed:
            free = not self._taken and not self._sharing
            if free:
                self._mine.depth = 1
                self._taken = True
        if not free:
            with self.shared():
                yield False
            return
        try:
            yield True
        finally:
            with self._changed:
                self._taken = False
                self._mine.depth = 0
                self._changed.notify_all()


TURNS = Turns()
"""Those of the process: a GPU is used by all of its models."""
