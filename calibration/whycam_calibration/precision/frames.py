"""Choosing frames for variety: spread over clips and time, near duplicates skipped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.errors import SourceError
from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.footage import Part, at_model_size, samples
from whycam_calibration.precision.progress import Progress

NEAR = 0.02
"""Root mean square difference of two frames' thumbnails (16 x 16, colours 0 to 1) below which they are the same."""

FEW = 100
"""Chosen frames below which a warning says that ranges may be too narrow."""

CANDIDATES = 4
"""Candidates per frame to be chosen."""

POOL_BYTES = 256 * 2**20
"""Candidates, at half of what they may take: a stream is thinned to between its quota and twice that."""

_THUMBNAIL = 16

Item = TypeVar("Item")
Kept = TypeVar("Kept")


@dataclass(frozen=True, eq=False)
class Chosen:
    """The frames that ranges are taken from."""

    images: NDArray[np.uint8]
    """[n, H, W, 3] BGR, at the model's size."""
    clips: int
    """Clips that were read."""
    near: int
    """Candidates left out because they are nearly those that were chosen."""
    unread: dict[str, str]
    """Why a clip could not be read, by its name."""

    @property
    def hash(self) -> str:
        """SHA-256 of the pictures."""
        return hashlib.sha256(self.images.tobytes()).hexdigest()


def choose_frames(parts: Sequence[Part], manifest: Manifest, count: int, progress: Progress) -> Chosen:
    """At most `count` frames of `parts`, as different as they come.

    Of more parts than there is room for candidates, evenly spread ones are read. Raises CalibrationError where no clip
    can be read.
    """
    room = max(1, POOL_BYTES // (3 * manifest.input.height * manifest.input.width))
    candidates = min(CANDIDATES * count, room)
    if len(parts) > candidates:
        parts = [parts[index] for index in np.linspace(0, len(parts) - 1, candidates).round().astype(int)]
    quota = max(1, -(-candidates // len(parts)))
    pool: list[NDArray[np.uint8]] = []
    unread: dict[str, str] = {}
    for index, part in enumerate(parts):
        progress("reading clips", index, len(parts))
        try:
            pool += thinned(
                (image for image, _, _ in samples(part, manifest)), quota, lambda image: at_model_size(image, manifest)
            )
        except SourceError as error:
            unread[part.name] = str(error)
    progress("reading clips", len(parts), len(parts))
    if not pool:
        raise CalibrationError(
            f"none of the {len(parts)} clips to calibrate from could be read; the first: {next(iter(unread.values()))}"
            if unread
            else "the footage to calibrate from holds no frame"
        )
    picks = farthest(np.stack([_thumbnail(image) for image in pool]), count, NEAR)
    near = len(pool) - len(picks) if len(picks) < count else 0
    return Chosen(np.stack([pool[index] for index in picks]), len(parts) - len(unread), near, unread)


def thinned(items: Iterable[Item], quota: int, keep: Callable[[Item], Kept]) -> list[Kept]:
    """Between `quota` and twice as many of `items`, evenly spread over a stream of any length; all of a shorter one."""
    kept: list[Kept] = []
    stride = 1
    for index, item in enumerate(items):
        if index % stride == 0:
            kept.append(keep(item))
            if len(kept) == 2 * quota:
                kept = kept[::2]
                stride *= 2
    return kept


def farthest(points: NDArray[np.float32], count: int, near: float) -> list[int]:
    """Indices of at most `count` of `points` f32 [n, d], each the farthest from those before (Gonzalez 1985).

    Distance is the root mean square difference. It begins with the most usual point, the nearest to the mean, and ends
    where all that is left is nearer than `near` to one that was chosen.
    """
    chosen = [int(_distances(points, points.mean(axis=0)).argmin())]
    distances = _distances(points, points[chosen[0]])
    while len(chosen) < min(count, len(points)):
        index = int(distances.argmax())
        if distances[index] < near:
            break
        chosen.append(index)
        distances = np.minimum(distances, _distances(points, points[index]))
    return chosen


def _distances(points: NDArray[np.float32], point: NDArray[np.float32]) -> NDArray[np.float32]:
    distances = np.sqrt(((points - point) ** 2).mean(axis=1))
    return np.asarray(distances, np.float32)


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2

    small = cv2.resize(image, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(small.ravel() / 255, np.float32)
