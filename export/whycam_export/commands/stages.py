"""The stages of a long command on the screen: what is being done, what is done and how long it took."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.status import Status


class Stages:
    """A spinner with the stage under way; a line with its seconds for each stage that ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = Status("", console=console)
        self._stage: str | None = None
        self._began = 0.0

    def begin(self, stage: str) -> None:
        """The stage before has ended, `stage` begins."""
        self._end()
        self._stage, self._began = stage, time.monotonic()
        self._status.update(stage)

    def __enter__(self) -> Stages:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._end()
        self._status.stop()

    def _end(self) -> None:
        if self._stage is not None:
            self._console.print(f"[green]done[/] {self._stage} [dim]({time.monotonic() - self._began:.1f} s)[/]")
            self._stage = None
