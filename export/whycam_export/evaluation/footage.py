"""A clip on the grid of times of a model, at its size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.detect.resize import resize
from whycam.detect.sampling import COLD, Resampler
from whycam.sources import open_source


@dataclass(frozen=True, eq=False)
class Footage:
    """A clip's frames as the model's windows take them, and the times of all its frames."""

    images: NDArray[np.uint8]
    """[n, H, W, 3] BGR at the model's size, one per slot of the grid, without gaps; a held frame stands as often."""
    times: NDArray[np.float64]
    """[n], seconds, of the frames."""
    all_times: NDArray[np.float64]
    """[m], seconds, of every frame of the clip, taken or not."""


def read_footage(path: Path, manifest: Manifest) -> Footage:
    """The clip at `path`, sampled by time stamp as on the device; of a clip with gaps, its longest part without one.

    A part that is shorter than a window holds its last frame until there is one, as in training.

    Raises SourceError where the file is no video that can be decoded.
    """
    window, size = manifest.window, manifest.input
    resampler = Resampler(window.frame_interval, window.max_gap)
    parts: list[list[tuple[NDArray[np.uint8], float]]] = [[]]
    every: list[float] = []
    for frame in open_source(path):
        every.append(frame.time)
        slots = resampler.push(frame.time)
        if slots == 0:
            continue
        if slots == COLD:
            parts.append([])
        part = parts[-1]
        if part:
            part.extend([part[-1]] * (slots - 1))
        part.append((resize(frame.image, size.height, size.width), frame.time))
    longest = max(parts, key=len)
    longest += [longest[-1]] * (window.frames - len(longest))
    return Footage(np.stack([image for image, _ in longest]), np.array([time for _, time in longest]), np.array(every))
