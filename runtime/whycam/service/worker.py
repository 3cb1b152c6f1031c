"""A thread with a bounded queue: a stage of the service."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

Job = TypeVar("Job")


class Worker(Generic[Job]):
    """Does jobs one after the other, in order, in a thread of its own.

    A job that fails is logged and counted; the worker goes on with the next.
    """

    def __init__(self, name: str, work: Callable[[Job], None], capacity: int) -> None:
        """A worker called `name` (its thread too) that calls `work` for each job; at most `capacity` jobs wait."""
        self.name = name
        self.failed = 0
        self.refused = 0
        self._work = work
        self.capacity = capacity
        self._jobs: deque[Job] = deque()
        self._busy = False
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._jobs)

    def offer(self, job: Job) -> bool:
        """Take `job` where there is room; False, counted in `refused`, where there is none. Never waits."""
        with self._changed:
            if len(self._jobs) >= self.capacity or self._stopping:
                self.refused += 1
                return False
            self._jobs.append(job)
            self._changed.notify_all()
            return True

    def put(self, job: Job) -> None:
        """Take `job`; wait until there is room."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._jobs) < self.capacity)
            self._jobs.append(job)
            self._changed.notify_all()

    def stop(self, seconds: float, *, finish: bool) -> bool:
        """Stop within `seconds`, after all jobs where `finish`, else after the one at hand; whether it has stopped."""
        with self._changed:
            self._stopping = True
            if not finish:
                self._jobs.clear()
            self._changed.notify_all()
        self._thread.join(max(seconds, 0))
        return not self._thread.is_alive()

    def idle(self, seconds: float) -> bool:
        """Wait up to `seconds` until no job is waiting or at hand; whether that came."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._jobs or self._busy:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return not (self._jobs or self._busy)
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._stopping)
                if not self._jobs:
                    return
                job = self._jobs.popleft()
                self._busy = True
                self._changed.notify_all()
            try:
                self._work(job)
            except Exception:
                # A stage must outlive any one job: what went wrong is in the log, with its place.
                self.failed += 1
                log.exception("%s: a job failed", self.name)
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
