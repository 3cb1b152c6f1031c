"""The thread that scores the frames of all cameras, in turn."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from whycam.detect import Decision
from whycam.service.lane import Lane

log = logging.getLogger(__name__)

_TICK_SECONDS = 0.5


class Scoring:
    """Takes one frame of each camera in turn, so that none waits longer than one frame of each of the others.

    One thread: a frame's convolutions already use all cores.
    """

    def __init__(self, scored: Callable[[Lane, Decision | None, float], None]) -> None:
        """Call `scored` after each frame with its lane, its decision and the seconds that it took."""
        self._scored = scored
        self._lanes: tuple[Lane, ...] = ()
        self._wake = threading.Event()
        self._stopping = False
        self._turn = threading.Lock()
        self._beat = time.monotonic()
        self._failing = False
        self._troubles: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)

    def start(self) -> None:
        """Begin to score."""
        self._thread.start()

    def wake(self) -> None:
        """A frame is ready, or something else has changed."""
        self._wake.set()

    def serve(self, lanes: Sequence[Lane]) -> None:
        """Score these lanes from now on; when this returns, no frame of another is being scored."""
        with self._turn:
            self._lanes = tuple(lanes)
        self._wake.set()

    @property
    def stuck_seconds(self) -> float:
        """Seconds since the thread last finished a frame, or found none to score; frames that fail do not count."""
        return time.monotonic() - self._beat

    def stop(self, seconds: float) -> bool:
        """Stop after the frame at hand; whether that came within `seconds`."""
        self._stopping = True
        self._wake.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        ticked = -math.inf
        while not self._stopping:
            if not self._round():
                self._wake.wait(_TICK_SECONDS)
                self._wake.clear()
            now = time.monotonic()
            if now - ticked >= _TICK_SECONDS:
                ticked = now
                with self._turn:
                    for lane in self._lanes:
                        self._guarded(lane, lane.tick)

    def _round(self) -> bool:
        """Score a frame of each lane that has one; whether any had."""
        found = failed = False
        for lane in self._lanes:
            with self._turn:
                done = self._guarded(lane, partial(self._advance, lane)) if lane in self._lanes else False
            if done is None:
                lane.failed()
            if done:
                self._troubles.pop(lane.name, None)
                found, self._beat = True, time.monotonic()
            failed |= done is None
        if found or failed:
            self._failing = not found
        elif not self._failing:
            # Where all that was tried last has failed, having nothing to do is no sign of life.
            self._beat = time.monotonic()
        return found or failed

    def _advance(self, lane: Lane) -> bool:
        start = time.monotonic()
        before = lane.scored
        decision = lane.advance()
        if lane.scored == before:
            return False
        self._scored(lane, decision, time.monotonic() - start)
        return True

    def _guarded(self, lane: Lane, act: Callable[[], bool | None]) -> bool | None:
        """What `act` returns, as a truth; None where it fails."""
        try:
            return bool(act())
        except Exception as error:
            # One camera's trouble is its own: the others' frames are scored on. Its log line comes once, not per frame.
            trouble = f"{type(error).__name__}: {error}"
            if self._troubles.get(lane.name) != trouble:
                self._troubles[lane.name] = trouble
                log.exception("a frame could not be scored", extra={"camera": lane.name})
            return None
