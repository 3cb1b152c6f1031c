"""What is true of a clip: when the anomaly lasts, and where it is.

It is read from the first of these that is there:

- `NAME.truth.npz` beside the clip, as the demo's scenes have it: the range and a mask per frame;
- the folder given with `--masks`: `PATH/*.png`, where PATH is the clip's path in the folder of clips without its
  suffix: one mask per frame of the clip, in the order of their names; what is not black is the anomaly. A
  `ranges.csv` beside them (columns path,start,end; seconds; path as above, with or without the suffix; a clip may have
  several lines) says when it lasts; without it, or without a line for the clip, it lasts while the masks show it;
- `ranges.csv` in the folder of clips: ranges alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whycam.clips import RANGES, Ranges, key_of, read_ranges
from whycam.errors import InputError, SourceError
from whycam_export.demo.footage import read_truth


@dataclass(frozen=True, eq=False)
class Truth:
    """When and where the anomaly is in a clip."""

    ranges: Ranges
    """Seconds from and until which it lasts, a pair for each time."""
    times: NDArray[np.float64] | None = None
    """[n], seconds, of the masks."""
    masks: NDArray[np.bool_] | None = None
    """[n, h, w]; None where only the ranges are known."""

    def inside(self, times: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of `times` [m], seconds, the anomaly lasts at; ends are outside."""
        found = np.zeros(len(times), np.bool_)
        for start, end in self.ranges:
            # Time stamps are rounded, in files and in sums.
            found |= (times >= start - 1e-6) & (times < end - 1e-6)
        return found

    def masks_at(self, times: NDArray[np.float64]) -> NDArray[np.bool_] | None:
        """The masks [m, h, w] of the frames nearest to `times` [m], seconds; None where there are none."""
        if self.masks is None or self.times is None:
            return None
        nearest = np.abs(self.times[None] - times[:, None]).argmin(axis=1)
        masks: NDArray[np.bool_] = self.masks[nearest]
        return masks


@dataclass(frozen=True)
class Truths:
    """Where the truth of a folder's clips lies."""

    clips: Path
    masks: Path | None = None
    ranges: dict[str, Ranges] = field(default_factory=dict)
    """By the clips' paths in the folder, without suffix."""

    def of(self, clip: Path, times: NDArray[np.float64]) -> Truth | None:
        """The truth of `clip`, whose frames have `times`, f64 [n] seconds; None where nothing is known.

        Raises SourceError where its truth is damaged, or there are not as many masks as frames.
        """
        if clip.with_suffix(".truth.npz").is_file():
            return _beside(clip)
        name = self._name(clip)
        ranges = self.ranges.get(name)
        if self.masks is not None and (self.masks / name).is_dir():
            masks = _read_masks(self.masks / name, len(times))
            return Truth(ranges if ranges is not None else _ranges_of(masks, times), times, masks)
        return None if ranges is None else Truth(ranges)

    def check(self, clips: Sequence[Path]) -> None:
        """Raise InputError where there are masks or ranges, but of none of the `clips`: their names are wrong then."""
        names = [self._name(clip) for clip in clips]
        dated = any(name in self.ranges for name in names)
        drawn = self.masks is not None and any((self.masks / name).is_dir() for name in names)
        if not names or drawn:
            return
        if self.masks is not None and not (dated and (self.masks / RANGES).is_file()):
            raise InputError(
                f"--masks {self.masks}: has nothing of the clips in {self.clips}; the masks of {clips[0].name}, for "
                f"one, must be {self.masks / names[0]}/*.png"
            )
        if self.ranges and not dated:
            raise InputError(
                f"{self.clips / RANGES}: names no clip of the folder; the path of {clips[0].name}, for one, must be "
                f"{names[0]}"
            )

    def _name(self, clip: Path) -> str:
        # Not resolved: a folder may hold links to clips that lie elsewhere.
        return key_of(clip.absolute().relative_to(self.clips.absolute()).as_posix())


def find_truths(clips: Path, masks: Path | None = None) -> Truths:
    """The truths of the clips in the folder `clips`, with the folder `masks`; see the module.

    Raises InputError where `masks` is no folder, or a `ranges.csv` is wrong, naming the line.
    """
    if masks is not None and not masks.is_dir():
        raise InputError(f"--masks {masks}: no such folder; give one that holds a folder of masks per clip")
    places = [folder / RANGES for folder in (masks, clips) if folder is not None]
    table = next((place for place in places if place.is_file()), None)
    return Truths(clips, masks, {} if table is None else read_ranges(table))


def _beside(clip: Path) -> Truth:
    try:
        truth = read_truth(clip)
    except Exception as error:  # numpy and zipfile raise whatever the damage leads to
        path = clip.with_suffix(".truth.npz")
        raise SourceError(f"{path}: damaged ({type(error).__name__}); make it again or move it away") from error
    ranges = ((truth.t0, truth.t1),) if truth.t1 > truth.t0 else ()
    return Truth(ranges, truth.times, truth.masks)


def _read_masks(folder: Path, frames: int) -> NDArray[np.bool_]:
    import cv2

    paths = sorted(folder.glob("*.png"))
    if len(paths) != frames:
        raise SourceError(f"{folder}: {len(paths)} masks for {frames} frames; give one PNG per frame of the clip")
    masks = []
    for path in paths:
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise SourceError(f"{path}: is no PNG that can be read; write it again")
        masks.append(picture > 0)
    if len({mask.shape for mask in masks}) > 1:
        raise SourceError(f"{folder}: its masks differ in size; give all the size of the clip's frames")
    return np.stack(masks)


def _ranges_of(masks: NDArray[np.bool_], times: NDArray[np.float64]) -> Ranges:
    """The stretches of time in which the masks [n, h, w] show something."""
    shown = np.concatenate([[False], masks.any(axis=(1, 2)), [False]])
    starts, ends = np.flatnonzero(shown[1:] & ~shown[:-1]), np.flatnonzero(~shown[1:] & shown[:-1])
    until = np.append(times, math.inf)
    return tuple((float(times[start]), float(until[end])) for start, end in zip(starts, ends, strict=True))
