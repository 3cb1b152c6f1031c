"""The explanations of a bundle: which questions can be asked of a window, and the answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from whycam.bundle import Manifest
from whycam.detect.model import Model, check_offered
from whycam.detect.ring import Snapshot
from whycam.errors import InputError
from whycam.explain import METHODS, TIME_METHODS
from whycam.explain.methods import Way
from whycam.explain.target import contrast, target_vector
from whycam_export.evaluation.network import Floats

TOP = 3
"""Frames of the quick explanation whose cost is measured."""

Reference = Literal["none", "usual"]
_CHEAPEST = "activation"
"""What is asked for where only the relevance is wanted: it runs no graph."""


@dataclass(frozen=True)
class Question:
    """A method, asked with a contrast and a reference."""

    method: str
    versus: str | None
    """As it was chosen: `normal`, `none` or a class; None for a method that knows no class."""
    reference: Reference = "none"

    def against(self, manifest: Manifest, label: str) -> str | None:
        """The class that `label` is contrasted with; None for no contrast."""
        return None if self.versus is None else contrast(manifest, label, self.versus)

    def can_be_asked(self, manifest: Manifest, label: str, window: Snapshot) -> bool:
        """Whether it has an answer: no class stands against itself, and what is usual must be known."""
        return self.against(manifest, label) != label and (self.reference == "none" or window.usual is not None)


def questions(
    model: Model, methods: Sequence[str] | None, versus: Sequence[str], references: Sequence[str]
) -> list[Question]:
    """Where: the `methods`, or all that the bundle offers, each with every contrast and reference that it knows.

    Raises InputError, naming those there are, for a name that is none, and for a method that the bundle has no graphs
    for.
    """
    _check(model.manifest, versus, references)
    for name in methods or ():
        if name not in METHODS:
            offered = ", ".join(model.methods)
            raise InputError(f"--methods {name}: bundle '{model.manifest.name}' offers {offered}")
        check_offered(model.manifest, METHODS[name], name)
    return _asked({name: METHODS[name] for name in methods or model.methods}, versus, references)


def time_questions(model: Model, versus: Sequence[str], references: Sequence[str]) -> list[Question]:
    """When: all methods that the bundle offers, each with every contrast and reference that it knows."""
    return _asked({name: TIME_METHODS[name] for name in model.time_methods}, versus, references)


def heatmaps(model: Model, window: Snapshot, asked: Iterable[Question], label: str) -> dict[Question, Floats]:
    """Where, f32 [T, h, w] of 0 and more, for each question that can be asked of `window`.

    Questions that differ in the method alone share what they have in common to compute.
    """
    groups: dict[tuple[str | None, Reference], list[Question]] = {}
    for question in asked:
        if question.can_be_asked(model.manifest, label, window):
            key = (question.against(model.manifest, label), question.reference)
            groups.setdefault(key, []).append(question)
    found: dict[Question, Floats] = {}
    for (versus, reference), group in groups.items():
        methods = [question.method for question in group]
        answers = model.compare(window, methods, label, versus, reference=reference)
        found.update({question: answer.heatmaps for question, answer in zip(group, answers, strict=True)})
    return found


def quick(model: Model, window: Snapshot, question: Question, label: str, frames: int | Literal["all"]) -> Floats:
    """The answer to one question for all frames, or for that many of the most relevant ones: f32 [T, h, w]."""
    versus = question.against(model.manifest, label)
    answer = model.explain(window, question.method, label, versus, frames=frames, reference=question.reference)
    return answer.heatmaps


def relevance(model: Model, window: Snapshot, question: Question, label: str) -> Floats:
    """When: f32 [T], 0 and more."""
    versus = question.against(model.manifest, label)
    answer = model.explain(
        window, _CHEAPEST, label, versus, frames=1, time=question.method, reference=question.reference
    )
    return np.asarray(answer.relevance, np.float32)


def _check(manifest: Manifest, versus: Sequence[str], references: Sequence[str]) -> None:
    for choice in versus:
        for label in manifest.anomalies:
            other = contrast(manifest, label, choice)
            if other != label:
                target_vector(manifest.classes, label, other)
    for reference in references:
        if reference not in get_args(Reference):
            raise InputError(f"--reference {reference}: there are {', '.join(get_args(Reference))}")


def _asked(ways: Mapping[str, Way], versus: Sequence[str], references: Sequence[str]) -> list[Question]:
    return [
        Question(method, choice, reference)  # type: ignore[arg-type]
        for method, way in ways.items()
        for choice in (dict.fromkeys(versus) if way.of_class else (None,))
        for reference in (dict.fromkeys(references) if way.of_reference else ("none",))
    ]
