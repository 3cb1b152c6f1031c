"""The figures on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from whycam_export.evaluation.figures import WHEN, WHERE, Meaning
from whycam_export.evaluation.result import Evaluation, Row

WHERE_COLUMNS = ("pointing", "energy", "deletion", "insertion", "difference", "peak_jump", "correlation_all", "frames")
"""Those that fit a terminal; the rest is in the report."""
WHEN_COLUMNS = ("auc", "deletion", "insertion", "difference", "auc_start", "auc_middle", "auc_end", "auc_bias")


def show(evaluation: Evaluation, console: Console) -> None:
    """Print the tables of `evaluation`, the truest method first."""
    windows = evaluation.windows
    console.print(
        f"[bold]{evaluation.bundle}[/] {evaluation.version}, maps of {', '.join(evaluation.cam_layers)}: "
        f"{windows['shown']} windows that show the anomaly, {windows['mixed']} mixed, in {evaluation.clips} clips"
    )
    for name, reason in evaluation.unread.items():
        console.print(f"[yellow]left out: {name}: {reason}[/]", highlight=False)
    if evaluation.unread:
        console.print(f"[yellow]{len(evaluation.unread)} clips left out[/]", highlight=False)
    console.print(table("where", evaluation.ranked(), WHERE, WHERE_COLUMNS))
    if evaluation.when:
        console.print(table("when", evaluation.ranked_when(), WHEN, WHEN_COLUMNS))
    if any(row.default for row in (*evaluation.where, *evaluation.when)):
        console.print("[dim]* what whycam explains by where nothing else is asked for[/]")
    context = evaluation.context
    chance = f"peaks and heat inside by chance {context['chance'].value:.3f}; " if "chance" in context else ""
    moves = f"the masks' centres move by {context['mask_jump'].value:.3f}; " if "mask_jump" in context else ""
    console.print(
        f"[dim]{chance}{moves}score of the windows {context['score'].value:.3f}, "
        f"blurred {context['score_blurred'].value:.3f}[/]",
        highlight=False,
    )


def table(title: str, rows: Sequence[Row], meanings: dict[str, Meaning], names: Sequence[str]) -> Table:
    """A line per row of what was measured of `names`."""
    present = [name for name in names if any(name in row.figures for row in rows)]
    several = len({row.versus for row in rows if row.versus}) > 1
    found = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    found.add_column("method", no_wrap=True)
    for name in present:
        widest = max(len(text(row, name)) for row in rows)
        found.add_column(meanings[name].title, justify="right", min_width=widest)
    for row in rows:
        style = "dim" if row.kind == "baseline" else "red" if row.verdict == "fails" else None
        if row.default:
            style = style or "bold"
        found.add_row(_name(row, several), *[text(row, each) for each in present], style=style)
    return found


def _name(row: Row, several: bool) -> str:
    """The method as a terminal has room for it: the contrast is named where there are `several`."""
    parts = [row.method, row.versus if several else None, "usual" if row.reference == "usual" else None]
    return ", ".join(part for part in parts if part) + (" *" if row.default else "")


def text(row: Row, name: str) -> str:
    """A figure as it is shown; `-` where it was not measured."""
    figure = row.figures.get(name)
    if figure is None:
        return "-"
    if name.startswith(("ms", "frames")):
        return f"{figure.value:.0f}" if figure.value >= 100 else f"{figure.value:.1f}"
    return f"{figure.value:.3f}"
