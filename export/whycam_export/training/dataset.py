"""The clips as windows of features, on their sides of the split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from whycam.clips import Clip, Split
from whycam.errors import SourceError
from whycam_export.errors import TrainingError
from whycam_export.training.feature_cache import Features
from whycam_export.training.features import Example, FeatureReader
from whycam_export.training.options import Options
from whycam_export.training.progress import clip_bar
from whycam_export.training.split import shared_sources, split_clips


@dataclass(frozen=True, eq=False)
class Dataset:
    """What to train and to validate on."""

    sides: dict[Split, list[Clip]]
    windows: dict[Split, list[Example]]
    """The clips' windows as they are."""
    copies: list[Example]
    """Augmented copies of the training windows."""
    skipped: dict[str, str]
    """Clips that cannot be read, and why."""
    padded: int
    """Clips too short for a window, whose last frame is held."""

    @property
    def training(self) -> list[Example]:
        """Training windows with their copies."""
        return self.windows["train"] + self.copies


def read_dataset(
    clips: Sequence[Clip], classes: Sequence[str], reader: FeatureReader, options: Options, console: Console
) -> Dataset:
    """Read all clips, split them, and read the augmented copies of those to train on.

    An unreadable clip is named on `console` and skipped. Raises TrainingError where too little is left.
    """
    originals: dict[Clip, Features] = {}
    skipped: dict[str, str] = {}
    with clip_bar(console, "Reading clips", len(clips)) as advance:
        for clip in clips:
            try:
                originals[clip] = reader.read(clip.path)
            except SourceError as error:
                skipped[str(clip.path)] = str(error)
                console.print(f"[yellow]skipped[/yellow] {escape(str(error))}", soft_wrap=True, highlight=False)
            advance()
    if not originals:
        raise TrainingError(
            f"{options.clips}: none of the {len(clips)} clips can be read; the first: {next(iter(skipped.values()))}"
        )

    sides = split_clips(list(originals), classes, options.validation, options.seed)
    windows = {
        side: [example for clip in members for example in _examples(clip, originals[clip], classes)]
        for side, members in sides.items()
    }
    copies: list[Example] = []
    jobs = [(clip, copy) for clip in sides["train"] for copy in range(1, options.augment + 1)]
    with clip_bar(console, "Augmented copies", len(jobs)) as advance:
        for clip, copy in jobs:
            copies += _examples(clip, reader.read(clip.path, copy), classes)
            advance()
    return Dataset(sides, windows, copies, skipped, sum(features.padded for features in originals.values()))


def describe(data: Dataset, classes: Sequence[str], console: Console) -> None:
    """Print what is trained and validated on."""
    for side, clips in data.sides.items():
        if clips:
            counts = Counter(clip.label for clip in clips)
            sources = len({clip.source for clip in clips})
            labels = ", ".join(f"{counts[name]} {name}" for name in classes)
            console.print(f"{side}: {len(clips)} clips of {sources} sources ({labels})", highlight=False, markup=False)
    if data.padded:
        console.print(f"shorter than a window, their last frame held: {data.padded} clips", highlight=False)
    if data.skipped:
        count = len(data.skipped)
        console.print(f"{count} clip{'' if count == 1 else 's'} cannot be read: left out", highlight=False)
    both = shared_sources(data.sides)
    if both:
        console.print(
            f"[yellow]warning[/yellow] the manifest puts {len(both)} sources on several sides: the figures flatter",
            highlight=False,
        )


def _examples(clip: Clip, features: Features, classes: Sequence[str]) -> Iterable[Example]:
    return (Example(values, classes.index(clip.label), clip) for values in features.values)
