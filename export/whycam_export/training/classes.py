"""The classes of a model: their order, and which of them is no anomaly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from whycam.clips import Clip
from whycam_export.errors import TrainingError


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
