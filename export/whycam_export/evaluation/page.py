"""The report: one HTML file that carries its pictures within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from whycam_export.evaluation.figures import CONTEXT, WHEN, WHERE, Meaning
from whycam_export.evaluation.result import Evaluation, Example, Row
from whycam_export.evaluation.strips import strip
from whycam_export.evaluation.table import text

SPARK = (96.0, 30.0)
"""Width and height of a curve in a table, in pixels."""


@dataclass(frozen=True)
class Cell:
    """A figure in a table."""

    text: str
    n: int
    best: bool
    """Whether no method has a better one; baselines do not compete."""


@dataclass(frozen=True)
class Line:
    """A row of a table; the curves are points of an SVG polyline."""

    row: Row
    cells: tuple[Cell, ...]
    deletion: str
    insertion: str


@dataclass(frozen=True)
class Table:
    """A table of figures: its columns and lines."""

    columns: tuple[Meaning, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Strips:
    """An example's pictures by method, the frames alone first, and the relevance of its frames by method."""

    title: str
    pictures: tuple[tuple[str, str], ...]
    relevance: tuple[tuple[str, tuple[float, ...]], ...]
    """Parts of the largest."""


def write_page(evaluation: Evaluation, path: Path) -> None:
    """Write the report on `evaluation` to `path`."""
    environment = Environment(
        loader=PackageLoader("whycam_export.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text_of_page = environment.get_template("report.html").render(
        evaluation=evaluation,
        where=tabulate(evaluation.ranked(), WHERE, list(WHERE)),
        when=tabulate(evaluation.ranked_when(), WHEN, list(WHEN)) if evaluation.when else None,
        checked=[row for row in evaluation.ranked() if row.sanity],
        examples=[_strips(example, evaluation) for example in evaluation.examples],
        meanings=(("Where", WHERE), ("When", WHEN), ("The windows", CONTEXT)),
        spark=SPARK,
        version=version("whycam-export"),
    )
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(text_of_page, encoding="utf-8")
    draft.replace(path)


def tabulate(rows: Sequence[Row], meanings: dict[str, Meaning], names: Sequence[str]) -> Table:
    """The figures `names` of `rows`, as far as any was measured."""
    present = [name for name in names if any(name in row.figures for row in rows)]
    best = {name: _best(rows, name, meanings[name]) for name in present}
    lines = tuple(
        Line(
            row,
            tuple(
                Cell(
                    text(row, name),
                    row.figures[name].n if name in row.figures else 0,
                    row.kind == "method" and name in row.figures and row.figures[name].value == best[name],
                )
                for name in present
            ),
            _points(row.deletion),
            _points(row.insertion),
        )
        for row in rows
    )
    return Table(tuple(meanings[name] for name in present), lines)


def _best(rows: Sequence[Row], name: str, meaning: Meaning) -> float | None:
    values = [row.figures[name].value for row in rows if row.kind == "method" and name in row.figures]
    if len(values) < 2 or meaning.better == "neither":
        return None
    return max(values) if meaning.better == "high" else min(values)


def _points(curve: Sequence[float]) -> str:
    width, height = SPARK
    last = max(len(curve) - 1, 1)
    return " ".join(
        f"{1 + (width - 2) * index / last:.1f},{height - 1 - (height - 2) * value:.1f}"
        for index, value in enumerate(curve)
    )


def _strips(example: Example, evaluation: Evaluation) -> Strips:
    case = example.case
    order = [row.method for row in evaluation.ranked() if row.method in example.heatmaps]
    pictures = [("frames", strip(case))]
    pictures += [(method, strip(case, example.heatmaps[method])) for method in dict.fromkeys(order)]
    relevance = tuple(
        (method, tuple(float(value) / (float(values.max()) or 1.0) for value in values))
        for method, values in example.relevance.items()
    )
    title = f"{case.label}, score {example.score:.2f}: {case.clip}, {case.times[0]:.1f} to {case.times[-1]:.1f} s"
    return Strips(title, tuple(pictures), relevance)
