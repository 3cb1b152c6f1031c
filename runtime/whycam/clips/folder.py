"""Labelled clips: a folder per class, or a `manifest.csv` that says what each clip shows and where it comes from."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from whycam.errors import InputError

MANIFEST = "manifest.csv"
VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"})

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

_REQUIRED = ("path", "label", "source")


@dataclass(frozen=True)
class Clip:
    """A video of one class."""

    path: Path
    label: str
    source: str
    """Where it was filmed: clips of one source never stand on both sides of a split."""
    split: Split | None = None
    """The side that the manifest gives it, if it gives one."""


def read_clips(folder: str | os.PathLike[str], classes: int = 2) -> list[Clip]:
    """The clips in `folder`: those that its `manifest.csv` names, else the videos in its sub-folders, a folder a class.

    Without a manifest each video is its own source. Raises InputError where the folder or its manifest is missing,
    empty or wrong, naming the line, and where the clips are of fewer than `classes` classes.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give a folder that holds a folder of clips per class")
    manifest = root / MANIFEST
    clips = _from_manifest(root, manifest) if manifest.exists() else _from_folders(root)
    if len({clip.label for clip in clips}) < classes:
        raise InputError(f"{root}: all {len(clips)} clips are '{clips[0].label}'; give clips of two classes or more")
    return clips


def find_videos(folder: str | os.PathLike[str]) -> list[Path]:
    """The videos in `folder` and the folders in it, by path; hidden ones are left out.

    Raises InputError where there is no such folder, or no video in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give a folder that holds videos")
    found = [
        path
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in VIDEO_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    if not found:
        raise InputError(f"{root}: no videos found ({', '.join(sorted(VIDEO_SUFFIXES))})")
    return found


def _from_folders(root: Path) -> list[Clip]:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    clips = [
        Clip(path, folder.name, source=path.relative_to(root).as_posix())
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]
    if not clips:
        raise InputError(
            f"{root}: no clips found; give a folder per class with videos in it ({', '.join(sorted(VIDEO_SUFFIXES))}), "
            f"or a {MANIFEST} with {','.join(_REQUIRED)}"
        )
    return clips


def _from_manifest(root: Path, manifest: Path) -> list[Clip]:
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            missing = [name for name in _REQUIRED if name not in columns]
            if missing:
                raise InputError(
                    f"{manifest}: no column {', '.join(missing)}; its first line must name {','.join(_REQUIRED)}"
                )
            clips = [_clip(root, f"{manifest}, line {reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{manifest}: cannot be read as CSV in UTF-8 ({error})") from error
    if not clips:
        raise InputError(f"{manifest}: names no clips")
    _check_rows(manifest, clips)
    return clips


def _clip(root: Path, where: str, row: Mapping[str, str | None]) -> Clip:
    path, label, source = (_field(where, row, name) for name in _REQUIRED)
    split = (row.get("split") or "").strip()
    place = root / path
    if not place.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{where}: {path} lies outside {root}; give paths inside the folder")
    if not place.is_file():
        raise InputError(f"{where}: {path} is not a file in {root}")
    for known in SPLITS:
        if split == known:
            return Clip(place, label, source, known)
    if split:
        raise InputError(f"{where}: split '{split}' is unknown; use {', '.join(SPLITS)}, or leave the column out")
    return Clip(place, label, source)


def _field(where: str, row: Mapping[str, str | None], name: str) -> str:
    value = (row.get(name) or "").strip()
    if not value:
        raise InputError(f"{where}: {name} is empty")
    return value


def _check_rows(manifest: Path, clips: Sequence[Clip]) -> None:
    twice = [path for path, count in Counter(clip.path for clip in clips).items() if count > 1]
    if twice:
        raise InputError(f"{manifest}: {twice[0].name} is named more than once ({len(twice)} such paths)")
    unsplit = sum(clip.split is None for clip in clips)
    if 0 < unsplit < len(clips):
        raise InputError(
            f"{manifest}: {unsplit} of {len(clips)} clips have no split; give each one, or leave the column out"
        )
