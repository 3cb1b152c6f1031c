"""Progress on stderr, where someone watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def tracked(items: Iterable[Item], what: str, total: int | None) -> Iterator[Item]:
    """`items`, with a bar on stderr as they are consumed; silent where stderr is no terminal."""
    # On a terminal, lines on stdout would tear the bar, and are progress enough.
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from items
        return

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        yield from progress.track(items, total=total, description=what)
