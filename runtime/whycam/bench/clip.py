"""The video that is measured on: the user's, or one that is drawn for the purpose."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whycam.errors import InputError
from whycam.libraries import OPENCV, needs
from whycam.sources import Frame, open_source
from whycam.sources.file import FALLBACK_FPS, announcement
from whycam.sources.uri import is_live

_FIRST = 8
_WIDTH, _HEIGHT, _FPS, _SECONDS = 640, 360, 25, 4
_SQUARES, _SIDE = 6, 60


@dataclass(frozen=True, eq=False)
class Clip:
    """A video file, and its first frames."""

    source: str
    drawn: bool
    """Whether it was drawn for the purpose."""
    fps: float
    images: tuple[NDArray[np.uint8], ...]
    """[H, W, 3] BGR: the first 8, or fewer where it has no more."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self.images[0].shape[:2]
        return width, height

    def endless(self) -> Generator[Frame, None, None]:
        """Its frames over and over, times going on."""
        start = 0.0
        while True:
            time = 0.0
            for frame in open_source(self.source):
                time = frame.time
                yield Frame(frame.pixels, start + time)
            start += time + 1 / self.fps


def open_clip(source: str) -> Clip:
    """The clip of the video at `source`.

    Raises SourceError where it cannot be read, InputError where it is a camera.
    """
    if is_live(source):
        raise InputError(f"--video {source}: is a camera; give a video file, which can be read as fast as it goes")
    images = tuple(frame.image for frame in itertools.islice(open_source(source), _FIRST))
    return Clip(source, False, announcement(source).fps or FALLBACK_FPS, images)


def draw_clip(folder: Path) -> Clip:
    """Draw a clip into `folder`: squares that wander before a grainy picture. The same one each time."""
    with needs(OPENCV):
        import cv2

    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (18, 32, 3), dtype=np.uint8)
    ground = cv2.resize(coarse, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC)
    ground = np.minimum(ground, 239) + random.integers(0, 16, ground.shape, dtype=np.uint8)
    room = np.array([_WIDTH - _SIDE, _HEIGHT - _SIDE])
    places, speeds = random.uniform(0, room, (_SQUARES, 2)), random.uniform(-4, 4, (_SQUARES, 2))
    colours = random.integers(0, 256, (_SQUARES, 3)).tolist()
    path = folder / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), _FPS, (_WIDTH, _HEIGHT))
    for moment in range(_FPS * _SECONDS):
        picture = ground.copy()
        for place, speed, colour in zip(places, speeds, colours, strict=True):
            x, y = (int(value) for value in np.mod(place + speed * moment, room))
            cv2.rectangle(picture, (x, y), (x + _SIDE, y + _SIDE), colour, thickness=-1)
        writer.write(picture)
    writer.release()
    images = tuple(frame.image for frame in itertools.islice(open_source(path), _FIRST))
    return Clip(str(path), True, float(_FPS), images)
