"""How many cameras a device holds, by letting it watch so many: each has its window, all share one model."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType

from whycam.bench.clip import Clip
from whycam.bench.question import Question
from whycam.bench.stages import warm_detector
from whycam.bench.timing import Show, Spread
from whycam.cuda.array import Picture
from whycam.detect import Detector, Model
from whycam.detect.sampling import Resampler

MOST = 64
"""Cameras that are tried, at most."""
MARGIN = 0.2
"""The part of the time that must be left over: other programs, and moments that are worse than the median."""
_HOPELESS, _TRIES = 1.5, 3
"""Where the share of so many rounds is above it, no more are timed."""
_NO_GAP = 1e9
_ROUND_SECONDS = 0.1
"""Short rounds are timed for so long each, so that one of them is not the whole figure."""


@dataclass(frozen=True)
class Load:
    """So many cameras, and the seconds in which a frame of each is decoded, scored, and explained where wanted."""

    cameras: int
    seconds: Spread
    share: float
    """The median over the time there is until the next frame: at 1 nothing is left."""
    holds: bool

    @property
    def seconds_per_camera(self) -> float:
        """The median's part of one camera."""
        return self.seconds.median / self.cameras


@dataclass(frozen=True)
class Capacity:
    """The loads that were tried, fewest cameras first."""

    loads: tuple[Load, ...]

    @property
    def cameras(self) -> int:
        """The most that held; 0 where not even one did."""
        return max((load.cameras for load in self.loads if load.holds), default=0)


def measure_capacity(
    model: Model, clip: Clip, fps: float, question: Question | None, rounds: int, show: Show, what: str
) -> Capacity:
    """How many cameras `model` holds at `fps` decisions per second each, every one explained where there is a question.

    Twice as many each time until they do not hold, then between the last two. Held is a load whose rounds take no more
    than 1 - `MARGIN` of the time there is.
    """
    loads: dict[int, Load] = {}
    with _Watched(model, clip, fps) as watched:
        count, held, failed = 1, 0, MOST + 1
        while held < count < failed:
            show(what, len(loads), len(loads) + 1)
            seconds = Spread.of(watched.rounds(count, question, rounds))
            share = seconds.median * fps
            loads[count] = Load(count, seconds, share, holds=share <= 1 - MARGIN)
            held, failed = (count, failed) if loads[count].holds else (held, count)
            count = min(2 * count, MOST) if failed > MOST else between(held, failed, loads)
    show(what, len(loads), len(loads))
    return Capacity(tuple(loads[cameras] for cameras in sorted(loads)))


def between(held: int, failed: int, loads: dict[int, Load]) -> int:
    """Where a straight line between two loads meets what may be taken; `held` where there is nothing in between."""
    least = loads[held].share if held else 0.0
    part = (1 - MARGIN - least) / max(loads[failed].share - least, 1e-9)
    return min(max(held + int(part * (failed - held)), held + 1), failed - 1)


class _Watched:
    """Cameras over one model, as many as are asked for."""

    def __init__(self, model: Model, clip: Clip, fps: float) -> None:
        self._model = model
        self._clip = clip
        self._fps = fps
        self._streams: list[_Stream] = []
        self._detectors: list[Detector] = []

    def rounds(self, count: int, question: Question | None, rounds: int) -> list[float]:
        """Seconds of each round over `count` cameras."""
        while len(self._streams) < count:
            self._streams.append(_Stream(self._clip, self._fps, self._model))
            self._detectors.append(warm_detector(self._model, itertools.cycle(self._clip.images[:1]), computed=0))
        seconds: list[float] = []
        self._round(count, question)
        while len(seconds) < rounds or sum(seconds) < rounds * _ROUND_SECONDS:
            if len(seconds) == _TRIES and min(seconds) * self._fps > _HOPELESS:
                break
            start = time.perf_counter()
            self._round(count, question)
            seconds.append(time.perf_counter() - start)
        return seconds

    def _round(self, count: int, question: Question | None) -> None:
        detectors = self._detectors[:count]
        decide_together(detectors, [stream.take() for stream in self._streams[:count]])
        if question is not None:
            for detector in detectors:
                question.ask(self._model, detector.snapshot(), [-1])

    def __enter__(self) -> _Watched:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams:
            stream.stop()


def decide_together(detectors: Sequence[Detector], images: Sequence[Picture]) -> None:
    """Decide on a frame of each camera, as many through the CNN at once as the service lets through."""
    model = detectors[0].model
    taken = [(detector, detector.take(image)) for detector, image in zip(detectors, images, strict=True)]
    turns = [(detector, due) for detector, due in taken if due is not None]
    for start in range(0, len(turns), model.at_once):
        batch = turns[start : start + model.at_once]
        samples = model.samples([due.image for _, due in batch], [due.time for _, due in batch])
        Detector.step_together([detector for detector, _ in batch], samples)
        for (detector, due), sample in zip(batch, samples, strict=True):
            detector.decide(due, sample)


class _Stream:
    """A camera: a thread that decodes all of the clip's frames, as a camera's does, and holds the next due one as the
    model sees it."""

    def __init__(self, clip: Clip, fps: float, model: Model) -> None:
        self._clip = clip
        self._model = model
        self._fps = fps
        self._due: queue.Queue[Picture | Exception] = queue.Queue(maxsize=1)
        self._stopping = False
        self._thread = threading.Thread(target=self._decode, name="bench camera", daemon=True)
        self._thread.start()

    def take(self) -> Picture:
        """The next due frame; raises what stood in its way."""
        found = self._due.get()
        if isinstance(found, Exception):
            raise found
        return found

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        while self._thread.is_alive():
            # It may be waiting for room.
            if not self._due.empty():
                self._due.get_nowait()
            self._thread.join(0.01)

    def _decode(self) -> None:
        resampler = Resampler(1 / self._fps, max_gap=_NO_GAP)
        try:
            with closing(self._clip.endless()) as frames:
                for frame in frames:
                    if resampler.push(frame.time):
                        self._due.put(self._model.see(frame.pixels))
                    if self._stopping:
                        return
        except Exception as error:  # it is raised where frames are taken
            self._due.put(error)
