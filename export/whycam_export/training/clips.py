"""The clips to train on: a folder per class, and an optional `manifest.csv` that says where each clip comes from."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from whycam_export.errors import TrainingError

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

    Without a manifest each video is its own source. Raises TrainingError where the folder or its manifest is missing,
    empty or wrong, naming the line, and where the clips are of fewer than `classes` classes.
    """
    root = Path(folder)
    if not root.is_dir():
        raise TrainingError(f"{root}: no such folder; give a folder that holds a folder of clips per class")
    manifest = root / MANIFEST
    clips = _from_manifest(root, manifest) if manifest.exists() else _from_folders(root)
    if len({clip.label for clip in clips}) < classes:
        raise TrainingError(
            f"{root}: all {len(clips)} clips are '{clips[0].label}'; training needs two classes or more"
        )
    return clips


def order_classes(clips: Iterable[Clip], wanted: Sequence[str] | None = None) -> tuple[str, ...]:
    """The classes in the model's order: `wanted`, which must name each of them once, or sorted by name."""
    present = sorted({clip.label for clip in clips}, key=lambda name: (name.casefold(), name))
    if wanted is None:
        return tuple(present)
    if sorted(wanted) != sorted(present):
        raise TrainingError(f"--classes {','.join(wanted)}: the clips' classes are {','.join(present)}; name each once")
    return tuple(wanted)


def find_normal(classes: Sequence[str], wanted: str | None = None) -> str:
    """The class that is no anomaly: `wanted`, or the one whose name says so (normal, noFight, non_violence, ...)."""
    if wanted is not None:
        if wanted not in classes:
            raise TrainingError(f"--normal {wanted}: not a class; the classes are {', '.join(classes)}")
        return wanted
    plain = {name: "".join(char for char in name.casefold() if char.isalnum()) for name in classes}
    negations = {prefix + other for other in plain.values() for prefix in ("no", "non", "not")}
    found = [
        name
        for name, letters in plain.items()
        if letters in negations or letters in {"normal", "negative", "background", "nothing", "none", "nonviolence"}
    ]
    if len(found) != 1:
        raise TrainingError(f"which of {', '.join(classes)} is the normal class? Say it with --normal NAME")
    return found[0]


def count_by_class(clips: Iterable[Clip], classes: Sequence[str]) -> Mapping[str, int]:
    """How many clips each class has, in the order of `classes`."""
    counts = Counter(clip.label for clip in clips)
    return {name: counts[name] for name in classes}


def _from_folders(root: Path) -> list[Clip]:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    clips = [
        Clip(path, folder.name, source=path.relative_to(root).as_posix())
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]
    if not clips:
        raise TrainingError(
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
                raise TrainingError(
                    f"{manifest}: no column {', '.join(missing)}; its first line must name {','.join(_REQUIRED)}"
                )
            clips = [_clip(root, f"{manifest}, line {reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(f"{manifest}: cannot be read as CSV in UTF-8 ({error})") from error
    if not clips:
        raise TrainingError(f"{manifest}: names no clips")
    _check_rows(manifest, clips)
    return clips


def _clip(root: Path, where: str, row: Mapping[str, str | None]) -> Clip:
    path, label, source = (_field(where, row, name) for name in _REQUIRED)
    split = (row.get("split") or "").strip()
    place = root / path
    if not place.resolve().is_relative_to(root.resolve()):
        raise TrainingError(f"{where}: {path} lies outside {root}; give paths inside the folder")
    if not place.is_file():
        raise TrainingError(f"{where}: {path} is not a file in {root}")
    for known in SPLITS:
        if split == known:
            return Clip(place, label, source, known)
    if split:
        raise TrainingError(f"{where}: split '{split}' is unknown; use {', '.join(SPLITS)}, or leave the column out")
    return Clip(place, label, source)


def _field(where: str, row: Mapping[str, str | None], name: str) -> str:
    value = (row.get(name) or "").strip()
    if not value:
        raise TrainingError(f"{where}: {name} is empty")
    return value


def _check_rows(manifest: Path, clips: Sequence[Clip]) -> None:
    twice = [path for path, count in Counter(clip.path for clip in clips).items() if count > 1]
    if twice:
        raise TrainingError(f"{manifest}: {twice[0].name} is named more than once ({len(twice)} such paths)")
    unsplit = sum(clip.split is None for clip in clips)
    if 0 < unsplit < len(clips):
        raise TrainingError(
            f"{manifest}: {unsplit} of {len(clips)} clips have no split; give each one, or leave the column out"
        )
