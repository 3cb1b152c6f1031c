"""Progress on the screen: a bar over clips, a bar over epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def clip_bar(console: Console, description: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar over `total` clips; yields what moves it on by one."""
    with _bar(console) as bar:
        task = bar.add_task(description, total=total, figures="")
        yield lambda: bar.advance(task)


@contextmanager
def epoch_bar(console: Console, description: str, total: int) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """A bar over at most `total` epochs; yields what takes an epoch's number and figures."""
    with _bar(console) as bar:
        task = bar.add_task(description, total=total, figures="")

        def report(epoch: int, figures: Mapping[str, float]) -> None:
            shown = (
                f"cross-entropy {figures['cross_entropy']:.3f}, validation {figures['val_cross_entropy']:.3f}; "
                f"accuracy {figures['accuracy']:.2f}, validation {figures['val_accuracy']:.2f}"
            )
            bar.update(task, completed=epoch, figures=shown)

        yield report


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console,
    )
