"""Progress on the screen: a bar over clips, a bar over epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def clip_bar(console: Console, description: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar over `total` clips; yields what moves it on by one."""
    with _bar(console, TimeElapsedColumn(), TimeRemainingColumn()) as bar:
        task = bar.add_task(description, total=total, figures="")
        yield lambda: bar.advance(task)


@contextmanager
def epoch_bar(console: Console, description: str, total: int) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """A bar over at most `total` epochs; yields what takes an epoch's number and figures."""
    console.print(f"{description}: cross-entropy and accuracy on training / validation windows", highlight=False)
    with _bar(console, TimeElapsedColumn()) as bar:
        task = bar.add_task("", total=total, figures="")

        def report(epoch: int, figures: Mapping[str, float]) -> None:
            shown = (
                f"{figures['cross_entropy']:.2f} / {figures['val_cross_entropy']:.2f}, "
                f"{figures['accuracy']:.0%} / {figures['val_accuracy']:.0%}"
            )
            bar.update(task, completed=epoch, figures=shown)

        yield report


def _bar(console: Console, *times: ProgressColumn) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        *times,
        TextColumn("{task.fields[figures]}"),
        console=console,
    )
