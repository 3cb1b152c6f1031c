"""The report on the screen: its facts and tables."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from whycam_calibration.report.report import Report, Table

_WIDTH = 140
"""Columns where nobody watches: a pipe has no width of its own, and 80 would break the tables' heads."""


def screen() -> Console:
    """Where reports are shown: stdout."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)


def show(report: Report, console: Console) -> None:
    """Print `report` on `console`, without its pictures."""
    console.print(f"[bold]{escape(report.title)}[/]")
    console.print(escape(report.lead))
    for warning in report.warnings:
        console.print(f"[yellow]warning[/] {escape(warning)}")
    facts = Grid(show_header=False, box=None)
    for fact in report.facts:
        facts.add_row(f"[bold]{escape(fact.value)}", escape(fact.name))
    console.print(facts)
    for section in report.sections:
        for table in section.tables:
            console.print(_grid(table, section.title))


def tell_signature(signed: bool, bundle: Path, console: Console) -> None:
    """Say on `console` that `bundle`, where it was signed before it was changed, is not any more."""
    if signed:
        console.print(
            f"whycam: {bundle} was signed, and is another bundle now: sign it again with `whycam bundle sign`",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )


def _grid(table: Table, title: str) -> Grid:
    grid = Grid(title=escape(table.title or title), title_justify="left")
    for index, column in enumerate(table.columns):
        grid.add_column(escape(column), justify="left" if index == 0 else "right")
    for row in table.rows:
        grid.add_row(*map(escape, row))
    return grid
