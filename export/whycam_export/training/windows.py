"""From a clip to windows: frames chosen by time stamp, exactly as the device chooses them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from whycam.detect.resize import resize
from whycam.detect.sampling import Resampler, longest_gap, sampled
from whycam.sources import Frame, open_source

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Sampling:
    """How windows are cut from a clip."""

    frames: int
    """T: frames of a window."""
    frame_interval: float
    """Seconds between two of them."""
    size: tuple[int, int]
    """Height and width, in pixels; the aspect ratio is not kept."""

    @property
    def max_gap(self) -> float:
        """Seconds without a frame after which the sampling starts anew, as on the device."""
        return longest_gap(self.frames, self.frame_interval)

    @property
    def stride(self) -> int:
        """Frames between the starts of two windows: half a window."""
        return max(1, self.frames // 2)


@dataclass(frozen=True, eq=False)
class ClipWindows:
    """A clip's windows."""

    frames: Frames
    """uint8 [windows, T, H, W, 3], BGR."""
    padded: bool
    """Whether the clip was too short for a window, so that its last frame is held until the window is full."""


def read_windows(path: Path, sampling: Sampling) -> ClipWindows:
    """The windows of the clip at `path`: one starts every T/2 frames, as long as a whole one fits.

    A clip with too few frames for a window gives one, in which the last frame is held to the end. A gap of more than
    `sampling.max_gap` seconds cuts the clip; a window never reaches across it.

    Raises SourceError where the file is no video that can be decoded.
    """
    runs = _sample(path, sampling)
    windows = [
        np.stack(run[start : start + sampling.frames])
        for run in runs
        for start in range(0, len(run) - sampling.frames + 1, sampling.stride)
    ]
    if windows:
        return ClipWindows(np.stack(windows), padded=False)
    longest = max(runs, key=len)
    held = [longest[-1]] * (sampling.frames - len(longest))
    return ClipWindows(np.stack([np.stack(longest + held)]), padded=True)


def _sample(path: Path, sampling: Sampling) -> list[list[Frames]]:
    """The clip's frames on the regular grid, in runs without gaps."""
    resampler = Resampler(sampling.frame_interval, sampling.max_gap)
    runs: list[list[Frames]] = []
    held: tuple[Frame, Frames] | None = None
    for frame, begins in sampled(open_source(path), resampler):
        if begins:
            runs.append([])
        if held is None or held[0] is not frame:
            held = frame, resize(frame.image, *sampling.size)
        runs[-1].append(held[1])
    return runs
