"""Windows of frames to compare on: noise, and what a video shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import whycam
from whycam.detect.resize import resize
from whycam.detect.sampling import Resampler
from whycam_export.errors import ModelError

Array = np.ndarray[Any, Any]

LONGEST_GAP = 3600.0
"""Seconds; a video with holes is still frames to compare on."""


def noise_window(frames: int, height: int, width: int) -> Array:
    """Frames of noise, the same each time: uint8 [T,H,W,3]."""
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def video_window(video: Path, frame_interval: float, frames: int, height: int, width: int) -> Array:
    """The first window of `video`, sampled and resized as the runtime does: uint8 [T,H,W,3] BGR.

    Raises SourceError where it cannot be read, ModelError where it is shorter than a window.
    """
    sampler = Resampler(frame_interval, max_gap=LONGEST_GAP)
    found: list[Array] = []
    for frame in whycam.open_source(str(video)):
        slots = sampler.push(frame.time)
        if slots > 0:
            held = found[-1:] * (slots - 1)
            found += [*held, resize(frame.image, height, width)]
        if len(found) >= frames:
            return np.stack(found[:frames])
    seconds = frames * frame_interval
    raise ModelError(f"{video}: shorter than a window of {frames} frames ({seconds:g} s); give a longer sample")
