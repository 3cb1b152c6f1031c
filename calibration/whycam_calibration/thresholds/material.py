"""The footage to calibrate on, watched by the model: labelled clips, and videos in which nothing happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from whycam.bundle import Manifest
from whycam.clips import RANGES, Clip, Ranges, find_videos, key_of, read_clips, read_ranges
from whycam.detect import Model
from whycam.errors import SourceError
from whycam.sources.file import announcement
from whycam_calibration.errors import CalibrationError
from whycam_calibration.thresholds.timeline import Timeline, read_timeline

Progress = Callable[[str, int, int], None]
"""Hears what is read, how many frames of all are done, and of how many."""


@dataclass(frozen=True)
class Video:
    """A video to watch."""

    path: Path
    name: str
    label: str
    source: str
    clip: bool
    events: Ranges | None = None


@dataclass(frozen=True)
class Material:
    """What the model made of all of it."""

    clips: tuple[Timeline, ...]
    """The labelled clips, those of the normal class too."""
    footage: tuple[Timeline, ...]
    """The normal footage without those."""
    unread: dict[str, str]
    """Why a video could not be read, by its name."""
    trained_on: int
    """Clips left out because their manifest gives them to training."""
    normal_class: str

    @property
    def normal(self) -> tuple[Timeline, ...]:
        """All in which nothing happens."""
        return (*self.footage, *(clip for clip in self.clips if clip.label == self.normal_class))

    def of(self, label: str) -> tuple[Timeline, ...]:
        """The labelled clips of a class."""
        return tuple(clip for clip in self.clips if clip.label == label)


def find_material(footage: Path | None, normal: Sequence[Path], manifest: Manifest) -> tuple[list[Video], int]:
    """The videos to watch, and how many clips are left out because training has seen them; nothing is decoded yet.

    Raises InputError where a folder, its manifest or its ranges are wrong, and CalibrationError where a label is not
    one of the bundle's classes, and where there is nothing in which nothing happens.
    """
    if footage is None and not normal:
        raise CalibrationError(
            "nothing to calibrate on: give labelled clips with --footage, or videos in which nothing happens with "
            "--normal-footage"
        )
    clips = [] if footage is None else read_clips(footage, classes=1)
    chosen = [clip for clip in clips if clip.split != "train"]
    if clips and not chosen:
        raise CalibrationError(
            f"{footage}: its manifest gives all {len(clips)} clips to training; calibrate on clips that the model has "
            "not learnt from"
        )
    strangers = sorted({clip.label for clip in chosen} - set(manifest.classes))
    if strangers:
        raise CalibrationError(
            f"{footage}: class '{strangers[0]}' is not one of bundle '{manifest.name}', which knows "
            f"{', '.join(manifest.classes)}; rename the folder or the label"
        )
    if not normal and not any(clip.label == manifest.normal for clip in chosen):
        raise CalibrationError(
            f"{footage}: no clip of the normal class '{manifest.normal}', so false alarms cannot be counted; add "
            "some, or give videos in which nothing happens with --normal-footage"
        )
    videos = [] if footage is None else _labelled(footage, chosen)
    for folder in normal:
        videos += [
            Video(path, path.relative_to(folder).as_posix(), manifest.normal, str(path), clip=False)
            for path in find_videos(folder)
        ]
    return videos, len(clips) - len(chosen)


def watch(model: Model, videos: Sequence[Video], trained_on: int, progress: Progress) -> Material:
    """Let `model` watch all `videos`; those that cannot be read are named in what is returned, the rest goes on.

    Raises CalibrationError where none can be read, or none of those in which nothing happens.
    """
    frames = [announcement(str(video.path)).frames or 0 for video in videos]
    total, before = sum(frames), 0
    unread: dict[str, str] = {}
    read: list[Timeline] = []
    for video, count in zip(videos, frames, strict=True):
        step = _steps(progress, video.name, before, total)
        try:
            made = read_timeline(
                model,
                video.path,
                video.name,
                video.label,
                video.source,
                clip=video.clip,
                events=video.events,
                progress=step,
            )
        except SourceError as error:
            unread[video.name] = str(error)
        else:
            if made.warm.any():
                read.append(made)
            else:
                unread[video.name] = f"{video.path}: the model gives no scores for it"
        before += count
        progress(video.name, before, total)
    normal = model.manifest.normal
    if not read:
        raise CalibrationError(
            f"none of the {len(videos)} videos can be read; the first: {next(iter(unread.values()))}"
        )
    if not any(one.label == normal for one in read):
        raise CalibrationError(
            f"of the videos in which nothing happens none can be read; the first: {_first(unread, videos, normal)}"
        )
    clips = tuple(one for one in read if one.clip)
    return Material(clips, tuple(one for one in read if not one.clip), unread, trained_on, normal)


def _labelled(folder: Path, clips: Sequence[Clip]) -> list[Video]:
    table = folder / RANGES
    ranges = read_ranges(table) if table.exists() else {}
    videos = []
    for clip in clips:
        name = clip.path.relative_to(folder).as_posix()
        videos.append(Video(clip.path, name, clip.label, clip.source, clip=True, events=ranges.get(key_of(name))))
    return videos


def _steps(progress: Progress, name: str, before: int, total: int) -> Callable[[], None]:
    done = before

    def step() -> None:
        nonlocal done
        done += 1
        progress(name, min(done, total), total)

    return step


def _first(unread: dict[str, str], videos: Sequence[Video], normal: str) -> str:
    return next(unread[video.name] for video in videos if video.label == normal and video.name in unread)
