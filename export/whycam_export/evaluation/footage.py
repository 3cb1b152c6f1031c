"""A clip on the grid of times of a model, at its size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.detect.resize import resize
from whycam.detect.sampling import Resampler, sampled
from whycam.sources import Frame, open_source


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
    every: list[float] = []
    parts: list[list[tuple[NDArray[np.uint8], float]]] = []
    for frame, begins in sampled(_noted(open_source(path), every), Resampler(window.frame_interval, window.max_gap)):
        if begins:
            parts.append([])
        part = parts[-1]
        held = part and part[-1][1] == frame.time
        part.append(part[-1] if held else (resize(frame.image, size.height, size.width), frame.time))
    longest = max(parts, key=len)
    longest += [longest[-1]] * (window.frames - len(longest))
    return Footage(np.stack([image for image, _ in longest]), np.array([time for _, time in longest]), np.array(every))


def _noted(frames: Iterable[Frame], times: list[float]) -> Iterator[Frame]:
    for frame in frames:
        times.append(frame.time)
        yield frame
