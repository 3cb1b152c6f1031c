"""Objects that live in processes of their own, so that what is compared does not share threads, memory or libraries."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

PAUSE = 0.05
"""Seconds between two ways: the threads of the last one may spin for a while before they sleep."""
LOG = Path("build/bench/workers.log")
"""What the libraries of the workers have to say."""
_PR_SET_PDEATHSIG = 1


class WorkerFailed(RuntimeError):  # noqa: N818 - what happened, not what it is
    """A worker could not do what it was asked; the message is a line that says why."""


class Worker:
    """`make(*arguments)`, in a fresh process; it sleeps until it is asked."""

    def __init__(self, name: str, make: Callable[..., Any], *arguments: Any) -> None:
        """Begin to make it; the first question waits until it is there."""
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        LOG.parent.mkdir(parents=True, exist_ok=True)
        self._process = context.Process(target=_serve, args=(theirs, make, arguments), name=name, daemon=True)
        self._process.start()
        theirs.close()
        self._made = False

    def timed(self, method: str, *arguments: Any) -> tuple[float, Any]:
        """Seconds that `method` of the object took there, and what it returned; raises WorkerFailed where it fails."""
        self.ready()
        self._pipe.send((method, arguments))
        seconds, found = self._answer()
        return seconds, found

    def ask(self, method: str, *arguments: Any) -> Any:
        """What `method` of the object returns; raises WorkerFailed where it fails."""
        return self.timed(method, *arguments)[1]

    def ready(self) -> None:
        """Wait until the object is made; raises WorkerFailed where it could not be."""
        if not self._made:
            self._answer()
            self._made = True

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join(10)
        self._pipe.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answer(self) -> Any:
        try:
            good, found = self._pipe.recv()
        except EOFError:
            self._process.join(10)
            raise WorkerFailed(f"{self.name}: its process ended with status {self._process.exitcode}") from None
        if not good:
            raise WorkerFailed(f"{self.name}: {found}")
        return found


class Workers(dict[str, Worker]):
    """Several workers by name, all ended with the `with` block."""

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.values():
            worker.stop()

    def start(self, name: str, make: Callable[..., Any], *arguments: Any) -> Worker:
        """Make one, ready to be asked; raises WorkerFailed where that fails."""
        worker = Worker(name, make, *arguments)
        try:
            worker.ready()
        except BaseException:
            worker.stop()
            raise
        self[name] = worker
        return worker


def in_process(make: Callable[..., Any], *arguments: Any) -> Any:
    """What `make(*arguments)` returns, computed in a process that ends then, its memory with it."""
    with Worker(make.__name__, _Kept, make, arguments) as worker:
        return worker.ask("value")


def repeated(act: Callable[[], Any], count: int, *, pause: float = 0.0) -> list[float]:
    """Seconds of each of `count` calls of `act`, after one that does not count."""
    act()
    seconds = []
    for _ in range(count):
        time.sleep(pause)
        start = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - start)
    return seconds


def interleaved(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, called in turn `rounds` times, after a round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(rounds + 1):
        for name, act in ways.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            act()
            if index:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    from whycam.bench.timing import Spread  # not where the peers' processes would import it

    return asdict(Spread.of(values))


class _Kept:
    def __init__(self, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._value = make(*arguments)

    def value(self) -> Any:
        return self._value


def _serve(pipe: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    _die_with_parent()
    with LOG.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        made = make(*arguments)
    except BaseException as error:
        pipe.send((False, line_of(error)))
        return
    pipe.send((True, None))
    while True:
        try:
            method, given = pipe.recv()
        except EOFError:
            return
        try:
            start = time.perf_counter()
            found = getattr(made, method)(*given)
            seconds = time.perf_counter() - start
        except Exception as error:
            pipe.send((False, line_of(error)))
        else:
            pipe.send((True, (seconds, found)))


def _die_with_parent() -> None:
    """Linux: be killed when the process that asks is, for it may be in the middle of long work."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def line_of(error: BaseException) -> str:
    """What happened, in a line; where, is in the log."""
    with LOG.open("a", encoding="utf-8") as log:
        traceback.print_exception(error, file=log)
    text = " ".join(str(error).split())
    if isinstance(error, WorkerFailed):
        return text
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
