"""From videos to blocks: the same road as on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from whycam.detect import Detector, Model
from whycam.detect.recording import decided
from whycam.drift import Block, BlockMeans
from whycam.errors import SourceError
from whycam.sources import Frame, open_source
from whycam.sources.file import FALLBACK_FPS, announcement

LEAST_BLOCKS = 20
"""With fewer, a spread cannot be told from chance."""
WANTED_BLOCKS = 40
"""Blocks are made shorter, down to the shortest, so that there are as many."""
SHORTEST_SECONDS = 3.0
LONGEST_SECONDS = 30.0
LEAST_SECONDS = LEAST_BLOCKS * SHORTEST_SECONDS

Prepare = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""What is done to a frame before the model sees it: the camera's zones."""
Item = TypeVar("Item")


class Track(Protocol):
    """Shows progress over items, one for each of so many frames."""

    def __call__(self, items: Iterable[Item], total: int | None) -> Iterator[Item]:
        """`items`, as they come."""


@dataclass(frozen=True, eq=False)
class Footage:
    """The blocks of all videos."""

    seconds: float
    """How long a block lasts."""
    runs: list[list[Block]]
    """The blocks of each video, in the order of time."""
    unreadable: list[str]
    """Why, for each video that cannot be read."""
    idle: int
    """Videos too short to hold a block."""

    @property
    def blocks(self) -> list[Block]:
        """The blocks of all videos, one after the other."""
        return [block for run in self.runs for block in run]


def announced_seconds(videos: Sequence[Path]) -> tuple[float, int]:
    """How long the containers say that the videos are, all together; and how many frames they have."""
    seconds, frames = 0.0, 0
    for video in videos:
        said = announcement(str(video))
        frames += said.frames or 0
        seconds += (said.frames or 0) / (said.fps or FALLBACK_FPS)
    return seconds, frames


def block_seconds(total: float, frame_interval: float) -> float:
    """How long a block of footage of `total` seconds lasts; whole samples of a model with that `frame_interval`."""
    seconds = min(max(total / WANTED_BLOCKS, SHORTEST_SECONDS, 4 * frame_interval), LONGEST_SECONDS)
    return max(1, round(seconds / frame_interval)) * frame_interval


def gather(model: Model, videos: Sequence[Path], seconds: float, prepare: Prepare, track: Track) -> Footage:
    """Let a detector watch each of `videos`; a video that cannot be read is told of, the others count."""
    runs: list[list[Block]] = []
    unreadable: list[str] = []
    idle = 0
    for video in videos:
        try:
            run = list(_blocks(model, video, seconds, prepare, track))
        except SourceError as error:
            unreadable.append(str(error))
            continue
        runs += [run] if run else []
        idle += not run
    return Footage(seconds, runs, unreadable, idle)


def _blocks(model: Model, video: Path, seconds: float, prepare: Prepare, track: Track) -> Iterator[Block]:
    detector = Detector(model)
    means = BlockMeans(seconds, model.manifest)
    frames = (Frame(prepare(frame.image), frame.time) for frame in open_source(str(video)))
    with closing(decided(detector, frames)) as decisions:
        for _, decision in track(decisions, announcement(str(video)).frames):
            if decision is None:
                continue
            if not decision.warm or not np.isfinite(list(decision.scores.values())).all():
                means.cut()
                continue
            block = means.push(detector.snapshot().samples[-1], decision.scores)
            if block is not None:
                yield block
