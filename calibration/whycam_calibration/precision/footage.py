"""Which of the footage makes the numbers, and which is held back to judge them by: never the same."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.clips import MANIFEST, find_videos, read_clips
from whycam.detect.resize import resize
from whycam.detect.sampling import Resampler, sampled
from whycam.errors import SourceError
from whycam.sources import open_source
from whycam.sources.file import announcement
from whycam_calibration.errors import CalibrationError

HELD_BACK = 0.25
"""The part of the footage that the gate sees, where no manifest says which."""

_SEED = 0


@dataclass(frozen=True)
class Part:
    """A video, or a stretch of one."""

    path: Path
    name: str
    label: str
    source: str
    start: float = 0.0
    """Seconds."""
    end: float = math.inf


@dataclass(frozen=True)
class Footage:
    """What is calibrated from, and what is held back."""

    calibration: tuple[Part, ...]
    held_back: tuple[Part, ...]
    by: str
    """What keeps the two apart."""


def split_footage(folder: Path, manifest: Manifest) -> Footage:
    """The videos in `folder`, split; no source, or no video or stretch of one, stands on both sides.

    By the `split` column of its `manifest.csv` where there is one (`train` calibrates), else by that file's `source`,
    else by video; a single video by time, a window's length apart.

    Raises InputError where there is no such folder or no video in it, CalibrationError where there is too little to
    split.
    """
    if (folder / MANIFEST).exists():
        clips = read_clips(folder, classes=1)
        parts = [Part(clip.path, _name(clip.path, folder), clip.label, clip.source) for clip in clips]
        if clips[0].split is not None:
            train = tuple(part for part, clip in zip(parts, clips, strict=True) if clip.split == "train")
            rest = tuple(part for part, clip in zip(parts, clips, strict=True) if clip.split != "train")
            if not train or not rest:
                raise CalibrationError(f"{folder / MANIFEST}: all clips are on one side of its split; give both")
            return Footage(train, rest, f"the split of {MANIFEST}")
        if len({part.source for part in parts}) > 1:
            return _by_source(parts, "source")
    else:
        parts = [
            Part(path, _name(path, folder), "" if path.parent == folder else path.parent.name, _name(path, folder))
            for path in find_videos(folder)
        ]
    if len(parts) > 1:
        return _by_source([replace(part, source=part.name) for part in parts], "video")
    return _by_time(parts[0], manifest)


def samples(part: Part, manifest: Manifest) -> Iterator[tuple[NDArray[np.uint8], float, bool]]:
    """The samples of `part` on the model's grid: image at its own size, seconds, and whether a run begins with it.

    Raises SourceError where the video cannot be read.
    """
    window = manifest.window
    first = True
    for frame, begins in sampled(open_source(str(part.path)), Resampler(window.frame_interval, window.max_gap)):
        if frame.time >= part.end:
            return
        if frame.time >= part.start:
            yield frame.image, frame.time, begins or first
            first = False


def at_model_size(image: NDArray[np.uint8], manifest: Manifest) -> NDArray[np.uint8]:
    """`image` as the device resizes it."""
    sized = resize(image, manifest.input.height, manifest.input.width)
    return sized.copy() if sized is image else sized


def _by_source(parts: Sequence[Part], by: str) -> Footage:
    # Label by label, so that each class is on both sides as far as its sources allow.
    held: set[str] = set()
    sources = sorted({part.source for part in parts})
    random.Random(_SEED).shuffle(sources)
    clips = defaultdict(list)
    for part in parts:
        clips[part.label].append(part.source)
    for found in clips.values():
        for source in [source for source in sources if source in found]:
            if sum(each in held for each in found) >= HELD_BACK * len(found):
                break
            if not set(found) <= held | {source}:
                held.add(source)
    if not held:
        held.add(sources[0])
    calibration = tuple(part for part in parts if part.source not in held)
    if not calibration:
        held.remove(calibrating := sorted(held)[0])
        calibration = tuple(part for part in parts if part.source == calibrating)
    return Footage(calibration, tuple(part for part in parts if part.source in held), by)


def _by_time(part: Part, manifest: Manifest) -> Footage:
    window = manifest.window.frames * manifest.window.frame_interval
    length = _seconds(part.path)
    start = length * (1 - HELD_BACK)
    if start - window < window or length - start < window:
        raise CalibrationError(
            f"{part.path}: {length:.1f} s are too short to calibrate from one part and judge by another; give more "
            f"videos, or one of {math.ceil(window / HELD_BACK)} s"
        )
    return Footage((replace(part, end=start - window),), (replace(part, start=start),), "time")


def _seconds(path: Path) -> float:
    announced = announcement(str(path))
    if announced.frames is not None and announced.fps is not None:
        return announced.frames / announced.fps
    last = 0.0
    try:
        for frame in open_source(str(path)):
            last = frame.time
    except SourceError as error:
        raise CalibrationError(f"no video could be read: {error}") from error
    return last


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
