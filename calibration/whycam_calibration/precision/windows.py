"""The windows that fp32 and another precision are compared on, of footage that was held back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.errors import SourceError
from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.footage import Part, at_model_size, samples
from whycam_calibration.precision.frames import thinned
from whycam_calibration.precision.progress import Progress

WINDOWS = 100
"""Windows compared at most."""

FEW = 30
"""Windows below which a warning says that a rare change would not show."""


@dataclass(frozen=True, eq=False)
class Window:
    """T frames that follow one another."""

    clip: str
    start: float
    """Seconds."""
    images: NDArray[np.uint8]
    """[T, H, W, 3] BGR, at the model's size."""


@dataclass(frozen=True, eq=False)
class HeldBack:
    """The windows of the held-back footage, and the clips that could not be read."""

    windows: tuple[Window, ...]
    unread: dict[str, str]

    @property
    def hash(self) -> str:
        """SHA-256 of the pictures."""
        digest = hashlib.sha256()
        for window in self.windows:
            digest.update(window.images.tobytes())
        return digest.hexdigest()


def read_windows(parts: Sequence[Part], manifest: Manifest, progress: Progress, limit: int = WINDOWS) -> HeldBack:
    """At most `limit` windows of `parts`, evenly spread over clips and time, without a frame in common.

    Of a clip shorter than a window the last frame is held, as in training.

    Raises CalibrationError where no clip can be read.
    """
    chosen = [parts[index] for index in np.linspace(0, len(parts) - 1, min(len(parts), limit)).round().astype(int)]
    quota = max(1, limit // len(chosen))
    windows: list[Window] = []
    unread: dict[str, str] = {}
    for index, part in enumerate(chosen):
        progress("reading held-back clips", index, len(chosen))
        try:
            found = thinned(_windows(part, manifest), max(1, (quota + 1) // 2), lambda window: window)
        except SourceError as error:
            unread[part.name] = str(error)
            continue
        windows += found[:quota]
    progress("reading held-back clips", len(chosen), len(chosen))
    if not windows:
        raise CalibrationError(
            f"none of the {len(chosen)} clips held back to judge by could be read; the first: "
            f"{next(iter(unread.values()), 'it holds no frame')}"
        )
    return HeldBack(tuple(windows), unread)


def _windows(part: Part, manifest: Manifest) -> Iterator[Window]:
    size = manifest.window.frames
    images: list[NDArray[np.uint8]] = []
    start, whole = 0.0, False
    for image, time, begins in samples(part, manifest):
        if begins:
            images = []
        start = time if not images else start
        images.append(at_model_size(image, manifest))
        if len(images) == size:
            yield Window(part.name, start, np.stack(images))
            images, whole = [], True
    if images and not whole:
        yield Window(part.name, start, np.stack([*images, *[images[-1]] * (size - len(images))]))
