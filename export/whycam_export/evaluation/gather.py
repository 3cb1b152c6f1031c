"""From a folder of clips to the windows to measure on; a clip that cannot be used is named, the rest goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from whycam.clips import Clip, read_clips
from whycam.errors import InputError, SourceError
from whycam_export.evaluation.cases import Case, choose_cases
from whycam_export.evaluation.footage import read_footage
from whycam_export.evaluation.network import Network
from whycam_export.evaluation.truth import find_truths

Progress = Callable[[str, int, int], None]
"""Hears what is done, how many steps of it, and of how many."""


@dataclass(frozen=True)
class Gathered:
    """The windows of all clips, and what became of the clips."""

    shown: tuple[Case, ...]
    mixed: tuple[Case, ...]
    moved: tuple[Case, ...]
    """Of each clip one of each place, in order; see `cases.PLACES`."""
    clips: int
    """Anomalous clips that were read."""
    without: tuple[str, ...]
    """Clips none of whose windows shows the anomaly and is rightly labelled."""
    unread: dict[str, str]
    """Why a clip could not be read, by its name."""

    @property
    def in_time(self) -> tuple[Case, ...]:
        """Windows to replace frames in: those of which only a part is the anomaly, and those that are all of it."""
        whole = (case for case in self.shown if case.inside is None or case.inside.all())
        return (*self.mixed, *whole)


def gather(
    clips: Path, network: Network, windows: int, masks: Path | None, memory: int, progress: Progress
) -> Gathered:
    """At most `windows` windows of each kind from each anomalous clip in `clips`, with `memory` frames before each.

    Raises InputError where the folder, its manifest or its truth is wrong, and where no window is
    left to measure on.
    """
    manifest = network.model.manifest
    truths = find_truths(clips, masks)
    chosen = [clip for clip in read_clips(clips, classes=1) if clip.label != manifest.normal]
    known = [clip for clip in chosen if clip.label in manifest.classes]
    if not known:
        there = ", ".join(manifest.anomalies)
        raise InputError(f"{clips}: no clip of a class that bundle '{manifest.name}' can raise ({there})")
    truths.check([clip.path for clip in chosen])
    unread = {_name(clip, clips): f"class '{clip.label}' is not the bundle's" for clip in chosen if clip not in known}
    shown: list[Case] = []
    mixed: list[Case] = []
    moved: list[Case] = []
    without: list[str] = []
    for index, clip in enumerate(known):
        progress("reading clips", index, len(known))
        name = _name(clip, clips)
        try:
            footage = read_footage(clip.path, manifest)
            truth = truths.of(clip.path, footage.all_times)
        except SourceError as error:
            unread[name] = str(error)
            continue
        found = choose_cases(name, clip.label, footage, truth, network, windows, memory)
        shown += found.shown
        mixed += found.mixed
        moved += found.moved
        if not found.shown:
            without.append(name)
    progress("reading clips", len(known), len(known))
    if not shown:
        raise InputError(
            f"{clips}: no window that shows its anomaly is labelled rightly by bundle '{manifest.name}' "
            f"({len(known)} clips, {len(unread)} not read); there is nothing to explain"
        )
    read = sum(_name(clip, clips) not in unread for clip in known)
    return Gathered(tuple(shown), tuple(mixed), tuple(moved), read, tuple(without), unread)


def _name(clip: Clip, folder: Path) -> str:
    return clip.path.relative_to(folder).with_suffix("").as_posix()
