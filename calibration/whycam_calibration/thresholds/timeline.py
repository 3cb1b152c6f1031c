"""A video as the model saw it: the logits and scores of each decision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whycam.clips import Ranges
from whycam.detect import Decision, Detector, Model
from whycam.detect.recording import decided
from whycam.detect.temperature import tempered
from whycam.sources import Frame, open_source

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Timeline:
    """The decisions of one video, in order; where the window was cold, or the model gave no numbers, NaN."""

    name: str
    label: str
    """The class that it shows."""
    source: str
    """Where it was filmed."""
    clip: bool
    """Whether it is one of the labelled clips; else it is normal footage."""
    times: Floats
    """[n], seconds."""
    logits: NDArray[np.float32]
    """[n, K]"""
    own_scores: NDArray[np.float32]
    """[n, K]: the graph's, at a temperature of 1."""
    start: float
    """Seconds, of its first frame."""
    interval: float
    """Seconds between two decisions, but for held ones."""
    events: Ranges | None = None
    """When its event lasts, where that is known; else it lasts as long as the video."""
    padded: bool = False
    """Whether it was shorter than a window, so that its last frame was held until the window was full."""

    @property
    def warm(self) -> NDArray[np.bool_]:
        """[n]: whether there are scores."""
        return ~np.isnan(self.logits[:, 0])

    @property
    def hours(self) -> float:
        """How long it was scored; the time that fills a window does not count."""
        return int(self.warm.sum()) * self.interval / 3600

    def scores(self, temperature: float) -> Floats:
        """[n, K], just as the runtime gives them at `temperature`."""
        return np.asarray(tempered(self.logits, self.own_scores, temperature), np.float64)

    def part(self, first: int, end: int) -> Timeline:
        """Its decisions from `first` to before `end`."""
        cut = slice(first, end)
        return replace(self, times=self.times[cut], logits=self.logits[cut], own_scores=self.own_scores[cut])

    def held(self, seconds: float) -> Timeline:
        """The same, its last score held until it was scored for `seconds`: as if what it shows had gone on.

        What is longer, what ends cold, and a clip whose event ends before it does stay as they are.
        """
        warm = np.flatnonzero(self.warm)
        if not len(warm) or warm[-1] != len(self.times) - 1:
            return self
        last = self.times[-1]
        missing = seconds - (last - self.times[warm[0]])
        over = self.events is not None and all(last > end + self.interval for _, end in self.events)
        if missing <= 1e-6 or over:
            return self
        count = int(np.ceil(missing / self.interval - 1e-6))
        return replace(
            self,
            times=np.concatenate([self.times, last + self.interval * np.arange(1, count + 1)]),
            logits=np.concatenate([self.logits, np.repeat(self.logits[-1:], count, axis=0)]),
            own_scores=np.concatenate([self.own_scores, np.repeat(self.own_scores[-1:], count, axis=0)]),
        )


def read_timeline(
    model: Model,
    path: Path,
    name: str,
    label: str,
    source: str,
    *,
    clip: bool,
    events: Ranges | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Timeline:
    """Watch the video at `path` as a camera, in constant memory but for its scores; `progress` hears of each frame.

    `model` has a temperature of 1. A video that is shorter than a window holds its last frame, as in training. Raises
    SourceError where it cannot be decoded.
    """
    detector = Detector(model)
    window, classes = model.manifest.window, len(model.manifest.classes)
    times: list[float] = []
    logits: list[NDArray[np.float32]] = []
    scores: list[NDArray[np.float32]] = []
    cold = np.full(classes, np.nan, np.float32)

    last: Frame | None = None

    def remembered() -> Iterator[Frame]:
        nonlocal last
        for frame in open_source(str(path)):
            last = frame
            yield frame

    def add(decision: Decision | None) -> None:
        if decision is None:
            return
        found = detector.logits
        values = np.array(list(decision.scores.values()), np.float32)
        known = found is not None and bool(np.isfinite(found).all() and np.isfinite(values).all())
        times.append(decision.time)
        logits.append(found if found is not None and known else cold)
        scores.append(values if known else cold)

    start, warm = None, False
    with closing(decided(detector, remembered())) as decisions:
        for time, decision in decisions:
            start = time if start is None else start
            add(decision)
            progress()
            warm = warm or detector.logits is not None
    padded = last is not None and not warm
    if last is not None and padded:
        for place in range(1, window.frames + 1):
            add(detector.push(last.image, last.time + place * window.frame_interval))
            if detector.logits is not None:
                break
    return Timeline(
        name,
        label,
        source,
        clip,
        np.array(times, np.float64),
        np.stack(logits) if logits else np.empty((0, classes), np.float32),
        np.stack(scores) if scores else np.empty((0, classes), np.float32),
        start or 0.0,
        window.frame_interval,
        events,
        padded,
    )
