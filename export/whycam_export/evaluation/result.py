"""What an evaluation finds, as values and as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from whycam.default_methods import METHOD, TIME
from whycam.explain.target import NORMAL
from whycam_export.evaluation.cases import Case
from whycam_export.evaluation.explaining import Question, Reference
from whycam_export.evaluation.figures import CONTEXT, WHEN, WHERE, Figure
from whycam_export.evaluation.network import Floats

SCHEMA = "whycam.explanations/1"

Kind = Literal["method", "baseline"]


@dataclass(frozen=True)
class Similarity:
    """How like a method's maps are to those of the network with its layers shuffled from the scores down to `stage`."""

    stage: str
    correlation: Figure
    structure: Figure


@dataclass(frozen=True)
class Row:
    """A method, or what it is compared with, and its figures."""

    method: str
    kind: Kind
    versus: str | None
    """The contrast as it was chosen: `normal`, `none` or a class; None for what knows no class."""
    reference: Reference
    figures: dict[str, Figure]
    by_class: dict[str, dict[str, Figure]] = field(default_factory=dict)
    """The figures over the windows of one class."""
    deletion: tuple[float, ...] = ()
    """The mean score as pixels or frames are deleted, in equal steps."""
    insertion: tuple[float, ...] = ()
    sanity: tuple[Similarity, ...] = ()
    verdict: str | None = None
    """Of the sanity check: `passes`, `fails`, or None where it was not made."""
    note: str | None = None

    @property
    def question(self) -> Question:
        """What was asked."""
        return Question(self.method, self.versus, self.reference)

    @property
    def default(self) -> bool:
        """Whether this is what whycam explains by where nothing else is asked for."""
        return self.question in (Question(METHOD, NORMAL, "usual"), Question(TIME, NORMAL, "usual"))

    @property
    def way(self) -> str:
        """How it was asked: the contrast, and the reference where there is one."""
        parts = (self.versus, "usual" if self.reference == "usual" else None)
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, eq=False)
class Example:
    """A window with what all methods say of it."""

    case: Case
    score: float
    heatmaps: dict[str, Floats]
    """[T, h, w] by method."""
    relevance: dict[str, Floats]
    """[T] by time method."""


@dataclass(frozen=True)
class Evaluation:
    """All that was found."""

    bundle: str
    version: str
    cam_layers: tuple[str, ...]
    clips: int
    windows: dict[str, int]
    """How many of each kind, and of each class."""
    without: tuple[str, ...]
    unread: dict[str, str]
    options: dict[str, Any]
    where: tuple[Row, ...]
    when: tuple[Row, ...]
    context: dict[str, Figure]
    examples: tuple[Example, ...] = ()

    def ranked(self) -> list[Row]:
        """The rows that say where, the truest first: by peaks inside where there are masks, then by difference."""
        return sorted(self.where, key=_merit, reverse=True)

    def ranked_when(self) -> list[Row]:
        """The rows that say when, the truest first: by AUC where the ranges are known, then by difference."""
        return sorted(self.when, key=_merit, reverse=True)

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON has them."""
        return {
            "schema": SCHEMA,
            "bundle": {"name": self.bundle, "version": self.version, "cam_layers": list(self.cam_layers)},
            "options": self.options,
            "clips": {"read": self.clips, "without_windows": list(self.without), "unread": self.unread},
            "windows": self.windows,
            "context": _figures(self.context),
            "where": [_row(row) for row in self.ranked()],
            "when": [_row(row) for row in self.ranked_when()],
            "meanings": {
                part: {name: {"text": meaning.text, "better": meaning.better} for name, meaning in meanings.items()}
                for part, meanings in (("where", WHERE), ("when", WHEN), ("context", CONTEXT))
            },
        }

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        draft = path.with_name(f"{path.name}.part")
        draft.write_text(json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        draft.replace(path)


def _merit(row: Row) -> tuple[float, float]:
    difference = row.figures["difference"].value if "difference" in row.figures else float("-inf")
    first = next((row.figures[name].value for name in ("pointing", "auc") if name in row.figures), difference)
    return first, difference


def _figures(figures: dict[str, Figure]) -> dict[str, dict[str, float]]:
    return {name: _figure(figure) for name, figure in figures.items()}


def _figure(figure: Figure) -> dict[str, float]:
    return {"value": float(f"{figure.value:.6g}"), "n": figure.n}


def _row(row: Row) -> dict[str, Any]:
    content = dataclasses.asdict(row)
    content["default"] = row.default
    content["figures"] = _figures(row.figures)
    content["by_class"] = {name: _figures(figures) for name, figures in row.by_class.items()}
    content["sanity"] = [
        {"stage": each.stage, "correlation": _figure(each.correlation), "structure": _figure(each.structure)}
        for each in row.sanity
    ]
    return content
