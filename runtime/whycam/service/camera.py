"""A camera: opened, watched over, and opened again, in threads that nothing else waits for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from whycam.backoff import Backoff
from whycam.bundle.manifest import Window
from whycam.config.models import Camera as CameraConfig
from whycam.config.secrets import camera_url
from whycam.cuda.array import Picture
from whycam.errors import WhycamError
from whycam.service.clock import Clock
from whycam.service.pace import Pace
from whycam.service.picture import PictureWatch
from whycam.service.states import CameraState, State, StateMachine
from whycam.sources import Frame, open_source
from whycam.sources.uri import is_live

log = logging.getLogger(__name__)

MOST_STUCK = 4
"""Readers that hang in a read and cannot be ended; with so many, the camera waits for one to come back."""
_STEADY_SECONDS = 3.0
"""A camera that has given frames for so long is opened again without delay."""
_REOPEN_FROZEN_SECONDS = 60.0
_BEAT_SECONDS = 0.2


@dataclass
class Counters:
    """What a camera has done since the service began."""

    captured: int = 0
    dropped: int = 0
    """Due, and replaced by a newer frame before being scored."""
    opened: int = 0
    abandoned: int = 0
    """Reads that gave nothing in time and were left to themselves."""
    faults: dict[str, int] = field(default_factory=lambda: {"frozen": 0, "black": 0})


@dataclass(frozen=True, eq=False)
class Shot:
    """A due frame, and what the model is to see of it."""

    frame: Frame
    seen: Picture
    """At the model's size."""


class _Reader:
    """One opening of the source, read in a thread of its own until it ends, fails or is abandoned."""

    def __init__(self, name: str) -> None:
        self.abandoned = False
        self.began: float | None = None
        self.last = time.monotonic()
        self.error: Exception | None = None
        self.done = False
        self.name = name
        self.thread: threading.Thread | None = None


class Camera:
    """Keeps a camera's newest frame ready.

    A supervising thread opens the source, in a reader's thread, and watches over it: a read that gives nothing for
    `stall_seconds` is abandoned, as nothing can end it, and the source opened anew; late frames of an abandoned reader
    are not taken. Of the frames that are due, the newest waits to be taken, made ready for the model by the thread that
    read it; one that is replaced counts as dropped.

    | what happens | state | then |
    |---|---|---|
    | the source does not open | connecting, with the reason | tried again with growing delay, for ever |
    | a file does not open, or has ended | failed | tried again; an ended file is not |
    | frames come, the window is not full | cold | |
    | frames are scored | running | |
    | no frame for `stall_seconds`, or the source breaks off | stalled: no frames | opened again |
    | the picture is frozen | stalled: frozen | opened again each minute |
    | the picture is black | stalled: black | waits for light |
    | reads hang and do not come back | failed | waits for one to come back |
    """

    def __init__(
        self,
        config: CameraConfig,
        window: Window,
        clock: Clock,
        ready: Callable[[], None],
        changed: Callable[[Camera], None],
        is_due: Callable[[float], bool],
        see: Callable[[Frame], Picture],
        open_frames: Callable[[str], Generator[Frame, None, None]] | None = None,
    ) -> None:
        """The camera of `config`, for a model with `window`; not yet started.

        `ready` is called when a frame can be taken, `changed` when the state is another; both from its threads.
        `is_due` says of a frame's time (service time, seconds) whether who takes the frames has use for it, `see` makes
        of a frame what the model is to see.
        """
        self.config = config
        self.counters = Counters()
        self._window = window
        self._clock = clock
        self._ready = ready
        self._changed = changed
        # A little less than the stall: a hung read that outlives its successor would keep one of the few connections
        # that a camera has, and may keep the camera from answering at all.
        self._open_frames = open_frames or partial(open_source, timeout_seconds=0.9 * config.stall_seconds)
        self._live = is_live(config.source)
        self._fast = config.playback == "fast" and not self._live
        self._machine = StateMachine(clock.now())
        self._pictures = PictureWatch(config.frozen_seconds, config.black_seconds)
        # Asked, not counted here: a grid of the camera's own would be out of step with that of the window.
        self._is_due = is_due
        self._see = see
        self._backoff = Backoff()
        self._pace = Pace()
        self._slot: Shot | None = None
        self._reader: _Reader | None = None
        self._stuck: list[_Reader] = []
        self._fault: str | None = None
        self._reopened_at = 0.0
        self._stopping = False
        self._condition = threading.Condition()
        self._supervisor = threading.Thread(target=self._supervise, name=f"camera {config.name}", daemon=True)

    def start(self) -> None:
        """Begin to open the source."""
        self._supervisor.start()

    def stop(self, seconds: float) -> bool:
        """Take no more frames; whether its threads have ended within `seconds`."""
        with self._condition:
            self._stopping = True
            self._slot = None
            reader = self._reader
            if reader is not None:
                reader.abandoned = True
            self._condition.notify_all()
        deadline = time.monotonic() + seconds
        threads = [self._supervisor, reader.thread if reader is not None else None]
        for thread in threads:
            if thread is not None and thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread is not None and thread.is_alive() for thread in threads)

    @property
    def state(self) -> CameraState:
        """How it is doing."""
        return self._machine.current

    @property
    def fps(self) -> float:
        """Frames that came in a second, lately."""
        with self._condition:
            return self._pace.fps(time.monotonic())

    def take(self) -> Shot | None:
        """The newest due frame, its time in service time, seconds; None where none has come since the last."""
        with self._condition:
            shot, self._slot = self._slot, None
            if shot is not None:
                self._condition.notify_all()
            return shot

    def scored(self, warm: bool) -> None:
        """A frame of it has been scored; its window is full, or not yet."""
        with self._condition:
            if self._machine.current.state not in (State.COLD, State.RUNNING):
                return
            reason = None if warm else self._pace.why_cold(self._window.max_gap)
            changed = self._machine.to(State.RUNNING if warm else State.COLD, reason, self._clock.now())
        if changed:
            self._tell()

    def failed(self) -> None:
        """A frame of it could not be scored."""
        with self._condition:
            if self._machine.current.state not in (State.COLD, State.RUNNING):
                return
            changed = self._machine.to(State.COLD, "frames cannot be scored; see the log", self._clock.now())
        if changed:
            self._tell()

    # -- the supervising thread --

    def _supervise(self) -> None:
        while not self._stopping:
            if not self._wait_for_stuck():
                return
            reader = self._begin()
            reason = self._attend(reader)
            if self._stopping:
                return
            if reason == "ended" and not self._live:
                self._to(State.FAILED, "ended")
                return
            if reader.began is None:
                self._fault = None
                self._to(State.CONNECTING if self._live else State.FAILED, reason)
            else:
                self._to(State.STALLED, self._fault or "no frames")
                log.warning("%s", reason, extra={"camera": self.config.name})
            with self._condition:
                self._condition.wait_for(lambda: self._stopping, self._backoff.next())
            if not self._stopping and self._machine.current.state is State.STALLED and self._fault is None:
                self._to(State.CONNECTING, None)

    def _begin(self) -> _Reader:
        reader = _Reader(f"read {self.config.name}")
        with self._condition:
            self._reader = reader
        reader.thread = threading.Thread(target=self._read, args=(reader,), name=reader.name, daemon=True)
        reader.thread.start()
        return reader

    def _attend(self, reader: _Reader) -> str:
        """Watch over `reader` until it is of no more use; why that is."""
        while True:
            with self._condition:
                self._condition.wait_for(lambda: reader.done or self._stopping, _BEAT_SECONDS)
                if self._stopping:
                    reader.abandoned = True
                    return "stopped"
                if reader.done:
                    return "ended" if reader.error is None else _line(reader.error)
                now = time.monotonic()
                if reader.began is not None and now - reader.began > _STEADY_SECONDS:
                    self._backoff.reset()
                reason = None
                if now - reader.last > self.config.stall_seconds:
                    reason = f"nothing came for {self.config.stall_seconds:g} s: opened anew"
                elif self._fault == "frozen" and now - self._reopened_at > _REOPEN_FROZEN_SECONDS:
                    self._reopened_at = now
                    reason = "the picture is frozen: opened anew"
                if reason is not None:
                    reader.abandoned = True
                    self.counters.abandoned += 1
                    self._stuck.append(reader)
                    self._slot = None
                    self._condition.notify_all()
                    return reason

    def _wait_for_stuck(self) -> bool:
        """Wait while too many reads hang; False where the camera is stopped meanwhile."""
        while not self._stopping:
            self._stuck = [reader for reader in self._stuck if not reader.done]
            if len(self._stuck) < MOST_STUCK:
                if self._machine.current.state is State.FAILED and self._machine.current.reason == _HANG:
                    self._to(State.CONNECTING, None)
                return True
            self._to(State.FAILED, _HANG)
            with self._condition:
                self._condition.wait_for(lambda: self._stopping, 1.0)
        return False

    # -- the reader's thread --

    def _read(self, reader: _Reader) -> None:
        try:
            for frame in self._frames(reader):
                if reader.abandoned:
                    return
                self._arrived(reader, frame)
        except Exception as error:
            reader.error = error
            if not isinstance(error, WhycamError):
                log.exception("reading failed", extra={"camera": self.config.name})
        finally:
            with self._condition:
                reader.done = True
                self._condition.notify_all()

    def _frames(self, reader: _Reader) -> Iterator[Frame]:
        """The source's frames in service time; a file's at its own pace, or as they can be taken."""
        self.counters.opened += 1
        shift: float | None = None
        while True:
            source = self._open_frames(camera_url(self.config))
            try:
                first = last = None
                for frame in source:
                    if self._live:
                        yield replace(frame, time=self._clock.now())
                        continue
                    if shift is None:
                        shift = self._clock.now() - frame.time
                    first = frame.time if first is None else first
                    last = frame.time
                    moment = frame.time + shift
                    if not self._fast and not self._pause_until(moment, reader):
                        return
                    yield replace(frame, time=moment)
            finally:
                source.close()
            if not self.config.repeat or first is None or last is None or shift is None:
                return
            shift += last - first + self._window.frame_interval

    def _pause_until(self, moment: float, reader: _Reader) -> bool:
        with self._condition:
            while not reader.abandoned:
                left = moment - self._clock.now()
                if left <= 0:
                    return True
                # A picture of a slow file is no stall.
                reader.last = time.monotonic()
                self._condition.wait(min(left, 1.0))
        return False

    def _arrived(self, reader: _Reader, frame: Frame) -> None:
        fault = self._pictures.push(frame.pixels, frame.time)
        with self._condition:
            if reader.abandoned:
                return
            now = time.monotonic()
            reader.last = now
            if reader.began is None:
                reader.began = now
            self.counters.captured += 1
            self._pace.arrived(now)
            changed = self._follow(fault, now)
        if changed:
            self._tell()
        if fault is None:
            self._offer(reader, frame)

    def _offer(self, reader: _Reader, frame: Frame) -> None:
        """Let `frame` wait to be taken, where it is due."""
        with self._condition:
            # A file that is played as fast as it goes waits for its frames to be taken.
            while self._fast and self._slot is not None and not reader.abandoned:
                reader.last = time.monotonic()
                self._condition.wait(1.0)
        if not self._is_due(frame.time):
            return
        shot = Shot(frame, self._see(frame))
        with self._condition:
            if reader.abandoned:
                return
            if self._slot is not None:
                self.counters.dropped += 1
            self._slot = shot
        self._ready()

    def _follow(self, fault: str | None, now: float) -> bool:
        """The state after a frame with this fault, or none; whether it is another."""
        if fault is not None and fault != self._fault:
            self.counters.faults[fault] += 1
            self._reopened_at = now
            log.warning("the picture is %s", fault, extra={"camera": self.config.name})
        self._fault = fault
        state, moment = self._machine.current.state, self._clock.now()
        if fault is None:
            if state in (State.COLD, State.RUNNING):
                return False
            if state is State.FAILED:
                self._machine.to(State.CONNECTING, None, moment)
            return self._machine.to(State.COLD, self._pace.why_cold(self._window.max_gap), moment)
        if state in (State.CONNECTING, State.FAILED):
            if state is State.FAILED:
                self._machine.to(State.CONNECTING, None, moment)
            self._machine.to(State.COLD, None, moment)
        return self._machine.to(State.STALLED, fault, moment)

    # -- both --

    def _to(self, state: State, reason: str | None) -> None:
        with self._condition:
            changed = self._machine.to(state, reason, self._clock.now())
        if changed:
            self._tell()

    def _tell(self) -> None:
        state = self.state
        log.info(
            "%s%s", state.state.value, f": {state.reason}" if state.reason else "", extra={"camera": self.config.name}
        )
        self._changed(self)


_HANG = f"{MOST_STUCK} reads of the source hang: its driver or network does not answer"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
