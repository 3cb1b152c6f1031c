"""A recording's frames on their way to decisions as fast as it goes: nobody waits for any one of them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from whycam.detect.intake import Due
from whycam.detect.model import Model
from whycam.detect.ring import Sample
from whycam.sources.ahead import Ahead
from whycam.sources.frame import Frame

Made = TypeVar("Made", covariant=True)

_AHEAD = 64
"""Frames that are read ahead: several times what the CNN sees at once, as not every frame is due."""


class Decider(Protocol[Made]):
    """What takes frames, and decides on those that are due: a detector, or a camera's judge."""

    @property
    def model(self) -> Model:
        """Whose CNN sees the frames."""

    def take(self, frame: NDArray[np.uint8], time: float) -> Due | None:
        """The frame as the model is to see it; None where it is not due."""

    def decide(self, due: Due, sample: Sample | None) -> Made:
        """What comes of it."""


def decided(decider: Decider[Made], frames: Iterable[Frame]) -> Generator[tuple[float, Made | None], None, None]:
    """The time (seconds) of each of `frames`, and what was decided at it; None where it was not due.

    What comes is what `push` would give of one frame after the other. But frames are read, resized and looked at for
    motion in a thread ahead, and the CNN sees several at once; none is kept in its own size. Raises what the frames'
    source raises, after the decisions before it. The thread ends when this is closed: see to that, by
    `contextlib.closing`, as a thread in the middle of decoding can tear down a process that ends.
    """
    with Ahead(_taken(decider, frames), _AHEAD) as ahead:
        for first in ahead:
            batch = [first]
            # What is there, without waiting for more: while the CNN runs, the next are read.
            while ahead.waiting and len(batch) < _AHEAD and sum(map(_needs_cnn, batch)) < decider.model.at_once:
                batch.append(next(ahead))
            seen = [due for _, due in batch if due is not None and not due.still]
            samples = iter(decider.model.samples([due.image for due in seen], [due.time for due in seen]))
            for time, due in batch:
                if due is None:
                    yield time, None
                else:
                    yield time, decider.decide(due, None if due.still else next(samples))


def _taken(decider: Decider[Made], frames: Iterable[Frame]) -> Iterator[tuple[float, Due | None]]:
    for frame in frames:
        yield frame.time, decider.take(frame.image, frame.time)


def _needs_cnn(item: tuple[float, Due | None]) -> bool:
    return item[1] is not None and not item[1].still
