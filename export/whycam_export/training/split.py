"""Training and validation clips, split by source: no scene is on both sides, every class is on both."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from whycam.clips import SPLITS, Clip, Split
from whycam_export.errors import TrainingError

_TRIALS = 200


def split_clips(clips: Sequence[Clip], classes: Sequence[str], fraction: float, seed: int) -> dict[Split, list[Clip]]:
    """The clips of each side: the manifest's where it names them, else whole sources drawn by `seed`.

    The draw takes about `fraction` of each class's clips for validation: of many random orders of the sources, each
    filled greedily, the one that comes closest. Raises TrainingError where no such split can be.
    """
    if any(clip.split for clip in clips):
        sides: dict[Split, list[Clip]] = {side: [clip for clip in clips if clip.split == side] for side in SPLITS}
        _check_sides(sides, classes)
        return sides
    if not 0 < fraction < 1:
        raise TrainingError(f"--validation {fraction:g}: must be between 0 and 1")
    sources: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips:
        sources[clip.source][clip.label] += 1
    for name in classes:
        count = sum(name in labels for labels in sources.values())
        if count < 2:
            raise TrainingError(
                f"class '{name}' has clips of {count} source{'' if count == 1 else 's'}; at least 2 are needed, "
                "one to train on and one to validate on"
            )
    chosen = _draw(sources, classes, fraction, seed)
    return {
        "train": [clip for clip in clips if clip.source not in chosen],
        "validation": [clip for clip in clips if clip.source in chosen],
        "test": [],
    }


def shared_sources(sides: Mapping[Split, Sequence[Clip]]) -> list[str]:
    """Sources that stand on more than one side, which only a manifest's own split can bring about."""
    seen: dict[str, set[Split]] = defaultdict(set)
    for side, clips in sides.items():
        for clip in clips:
            seen[clip.source].add(side)
    return sorted(source for source, where in seen.items() if len(where) > 1)


def _draw(sources: Mapping[str, Counter[str]], classes: Sequence[str], fraction: float, seed: int) -> set[str]:
    totals: Counter[str] = sum(sources.values(), Counter())
    generator = random.Random(seed)
    order = sorted(sources)
    best: tuple[float, set[str]] | None = None
    for _ in range(_TRIALS):
        generator.shuffle(order)
        chosen, taken = _fill(order, sources, totals, fraction)
        if all(0 < taken[name] < totals[name] for name in classes):
            distance = _distance(taken, totals, fraction)
            if best is None or distance < best[0]:
                best = (distance, chosen)
    if best is None:
        raise TrainingError(
            "no split by source puts every class on both sides: the classes share too few sources; "
            "add sources, or give a split column in manifest.csv"
        )
    return best[1]


def _fill(
    order: Sequence[str], sources: Mapping[str, Counter[str]], totals: Counter[str], fraction: float
) -> tuple[set[str], Counter[str]]:
    """Take each source in turn that brings validation closer to its share, or its first clip of a class."""
    chosen: set[str] = set()
    taken: Counter[str] = Counter()
    for source in order:
        more = taken + sources[source]
        if any(more[name] == totals[name] for name in sources[source]):
            continue
        brings_class = any(not taken[name] for name in sources[source])
        if brings_class or _distance(more, totals, fraction) < _distance(taken, totals, fraction):
            chosen.add(source)
            taken = more
    return chosen, taken


def _distance(taken: Counter[str], totals: Counter[str], fraction: float) -> float:
    return sum((taken[name] / total - fraction) ** 2 for name, total in totals.items())


def _check_sides(sides: Mapping[Split, Sequence[Clip]], classes: Sequence[str]) -> None:
    for side in SPLITS:
        present = {clip.label for clip in sides[side]}
        absent = [name for name in classes if name not in present]
        if absent and (side != "test" or present):
            raise TrainingError(f"the manifest's split leaves class '{absent[0]}' without {side} clips")
