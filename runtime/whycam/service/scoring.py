"""The thread that scores the frames of all cameras, together where they share a model."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

from whycam.detect import Decision, Model
from whycam.detect.ring import Sample
from whycam.service.lane import Lane, Turn

log = logging.getLogger(__name__)

Made = TypeVar("Made")

_TICK_SECONDS = 0.5
STUCK_SECONDS = 20.0
"""Scoring that has finished nothing for so long hangs."""
BATCH_SECONDS = 2.0
"""A batch should take no longer: the other models' cameras, and the watchdog, wait for its end."""
_TOGETHER = ""
"""Stands for no camera: the trouble of frames of several."""


class Scoring:
    """Takes one frame of each camera in each round, so that none waits longer than one frame of each of the others.

    One thread: a frame's convolutions already use all cores. The frames that are there of cameras with the same model
    go through its CNN as one batch.
    """

    def __init__(self, scored: Callable[[Lane, Decision, float], None]) -> None:
        """Call `scored` after each frame with its lane, its decision and the seconds that it took."""
        self._scored = scored
        self._lanes: tuple[Lane, ...] = ()
        self._wake = threading.Event()
        self._stopping = False
        self._turn = threading.Lock()
        self._beat = time.monotonic()
        self._failing = False
        self._troubles: dict[str, str] = {}
        self._seconds: WeakKeyDictionary[Model, float] = WeakKeyDictionary()
        """What a frame has taken lately, by model."""
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

    def hangs(self, seconds: float) -> bool:
        """Whether the frames at hand are not done within `seconds`: till then, `serve` would not return."""
        free = self._turn.acquire(timeout=seconds)
        if free:
            self._turn.release()
        return not free

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
        done, failed = 0, 0
        for lanes in _sharing(self._lanes):
            batch: list[tuple[Lane, Turn]] = []
            for lane in lanes:
                with self._turn:
                    turn, fine = self._guarded(lane, lane.take) if lane in self._lanes else (None, True)
                if not fine:
                    lane.failed()
                    failed += 1
                if turn is not None:
                    batch.append((lane, turn))
                # What is due now, and no waiting for more: a lone camera's frame goes at once.
                if batch and (len(batch) >= self._most(lane.model) or lane is lanes[-1]):
                    scored, torn = self._score(batch)
                    done, failed, batch = done + scored, failed + torn, []
        if done or failed:
            self._failing = not done
        elif not self._failing:
            # Where all that was tried last has failed, having nothing to do is no sign of life.
            self._beat = time.monotonic()
        return done > 0 or failed > 0

    def _most(self, model: Model) -> int:
        """How many frames go through the CNN of `model` at once: fewer where the device is slow."""
        seconds = self._seconds.get(model, 0.0)
        return model.at_once if seconds <= 0 else max(1, min(model.at_once, int(BATCH_SECONDS / seconds)))

    def _score(self, batch: Sequence[tuple[Lane, Turn]]) -> tuple[int, int]:
        """Decide on frames of one model, which its CNN sees at once; how many could be decided on, and how many not."""
        done = 0
        with self._turn:
            batch = [(lane, turn) for lane, turn in batch if lane in self._lanes]
            start = time.monotonic()
            samples = self._samples(batch)
            share = (time.monotonic() - start) / max(1, len(batch))
            for (lane, turn), sample in zip(batch, samples, strict=True):
                _, fine = self._guarded(lane, partial(self._decide, lane, turn, sample, share))
                if fine:
                    self._troubles.pop(lane.name, None)
                    self._beat = time.monotonic()
                    done += 1
                else:
                    lane.failed()
        return done, len(batch) - done

    def _samples(self, batch: Sequence[tuple[Lane, Turn]]) -> list[Sample | None]:
        """What the CNN makes of the frames that it needs to see, all at once; None of the others."""
        seen = [turn.due for _, turn in batch if not turn.due.still]
        # A lone frame is no batch; what is still needs no CNN. Both are the detector's own business.
        if len(seen) < 2:
            return [None] * len(batch)
        try:
            samples = batch[0][0].model.samples([due.image for due in seen], [due.time for due in seen])
            lanes = [lane for lane, turn in batch if not turn.due.still]
            lanes[0].step_together(lanes, samples)
        except Exception as error:
            # Each by itself then, so that the one which the CNN cannot bear fails alone.
            self._note(_TOGETHER, error, "frames of several cameras failed together, each is tried alone", {})
            return [None] * len(batch)
        self._troubles.pop(_TOGETHER, None)
        made = iter(samples)
        return [None if turn.due.still else next(made) for _, turn in batch]

    def _decide(self, lane: Lane, turn: Turn, sample: Sample | None, share: float) -> None:
        start = time.monotonic()
        decision = lane.decide(turn, sample)
        seconds = share + time.monotonic() - start
        if not turn.due.still:
            self._seconds[lane.model] = seconds
        self._scored(lane, decision, seconds)

    def _guarded(self, lane: Lane, act: Callable[[], Made]) -> tuple[Made | None, bool]:
        """What `act` returns, and whether it did not fail."""
        try:
            return act(), True
        except Exception as error:
            # One camera's trouble is its own: the others' frames are scored on.
            self._note(lane.name, error, "a frame could not be scored", {"camera": lane.name})
            return None, False

    def _note(self, who: str, error: Exception, what: str, extra: dict[str, str]) -> None:
        """Log what failed, once, not for each frame."""
        trouble = f"{type(error).__name__}: {error}"
        if self._troubles.get(who) != trouble:
            self._troubles[who] = trouble
            log.error(what, exc_info=error, extra=extra)


def _sharing(lanes: Sequence[Lane]) -> list[list[Lane]]:
    """The lanes of each model."""
    groups: dict[int, list[Lane]] = {}
    for lane in lanes:
        groups.setdefault(id(lane.model), []).append(lane)
    return list(groups.values())
