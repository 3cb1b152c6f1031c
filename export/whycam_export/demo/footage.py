"""Scenes on disk: MP4 clips, a manifest, and beside each clip the truth of what happens when and where.

`NAME.mp4` has `NAME.truth.npz`: `label` and `place` (text), `t0` and `t1` (seconds of the clip between which the
anomaly lasts, both 0 without one), `times` f64 [n] (seconds of the frames), `masks` (where the anomaly is: bits of bool
[n,h,w], packed along the rows) and their `shape`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from whycam.errors import InputError
from whycam_export.demo.scenes import CLASSES, NORMAL, Clip, make_scene, render

Split = Literal["train", "validation", "test"]

RATES = (10.0, 12.5, 15.0, 20.0)
COLUMNS = ("path", "label", "source", "split")


@dataclass(frozen=True)
class Shoot:
    """A scene to film: the same seed never serves two splits."""

    seed: int
    label: str
    split: Split
    duration: float
    onset: float


@dataclass(frozen=True)
class Truth:
    """What happens in a clip; the fields are those of the file, see the module."""

    label: str
    place: str
    t0: float
    t1: float
    times: NDArray[np.float64]
    masks: NDArray[np.bool_]

    def mask_at(self, time: float) -> NDArray[np.bool_]:
        """The mask bool [h,w] of the frame nearest to `time` seconds."""
        mask: NDArray[np.bool_] = self.masks[int(np.abs(self.times - time).argmin())]
        return mask


def plan(split: Split, seed: int, scenes: int, duration: float, onset: tuple[float, float]) -> list[Shoot]:
    """`scenes` scenes of each class, whose seeds count up from `seed`; events begin within `onset` seconds."""
    shoots = []
    for index in range(scenes * len(CLASSES)):
        begins = float(np.random.default_rng((seed + index, 7)).uniform(*onset))
        shoots.append(Shoot(seed + index, CLASSES[index % len(CLASSES)], split, duration, round(begins, 2)))
    return shoots


def film(shoots: Sequence[Shoot], folder: Path, lead: float | None, workers: int = 2) -> Iterable[list[Path]]:
    """Film each scene into `folder`, in worker processes; yields the clips of a scene as soon as it is done.

    With a `lead`, a scene with an event gives two clips of one label each, as a trainer wants them: what comes before
    the event, and the event from `lead` seconds before its beginning on. Without, it gives one clip of the whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_film_scene, shoots, [folder] * len(shoots), [lead] * len(shoots))


def write_manifest(folder: Path, shoots: Sequence[Shoot]) -> None:
    """Write `manifest.csv`: a line per clip of `shoots` in `folder`, whose source is its scene."""
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for shoot in shoots:
            source = f"scene-{shoot.seed}"
            for path in sorted(folder.glob(f"{source}-*.mp4")):
                table.writerow((path.name, read_truth(path).label, source, shoot.split))


def read_truth(clip: Path) -> Truth:
    """The truth that lies beside the clip. Raises InputError where there is none."""
    path = clip.with_suffix(".truth.npz")
    if not path.is_file():
        raise InputError(f"{path}: the clip's truth is missing; make the scenes again with `whycam demo`")
    with np.load(path) as file:
        shape = tuple(file["shape"])
        masks = np.unpackbits(file["masks"], axis=-1, count=shape[-1]).astype(np.bool_).reshape(shape)
        return Truth(str(file["label"]), str(file["place"]), float(file["t0"]), float(file["t1"]), file["times"], masks)


def write_clip(clip: Clip, path: Path) -> None:
    """Write the clip as MP4 (MPEG-4 Part 2, which every build of OpenCV writes and reads) and its truth beside it."""
    height, width = clip.frames.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), clip.fps, (width, height))
    if not writer.isOpened():
        raise InputError(f"{path}: cannot be written as a video; check the folder and OpenCV's FFmpeg support")
    for frame in clip.frames:
        writer.write(frame)
    writer.release()
    np.savez_compressed(
        path.with_suffix(".truth.npz"),
        label=clip.label,
        place=clip.scene.backdrop.place,
        t0=clip.t0,
        t1=clip.t1,
        times=clip.times,
        shape=clip.masks.shape,
        masks=np.packbits(clip.masks, axis=-1),
    )


def _film_scene(shoot: Shoot, folder: Path, lead: float | None) -> list[Path]:
    cv2.setNumThreads(1)
    scene = make_scene(shoot.seed, shoot.label, shoot.duration, shoot.onset)
    fps = float(np.random.default_rng((shoot.seed, 8)).choice(RATES))
    if lead is None or shoot.label == NORMAL:
        clips = [render(scene, fps)]
    else:
        clips = [render(scene, fps, end=shoot.onset), render(scene, fps, begin=shoot.onset - lead)]
    paths = [folder / f"scene-{shoot.seed}-{clip.label}.mp4" for clip in clips]
    for clip, path in zip(clips, paths, strict=True):
        write_clip(clip, path)
    return paths
