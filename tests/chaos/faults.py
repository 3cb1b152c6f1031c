"""The faults by name, and what each is given to work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.stack import Stack
from tests.chaos.verdict import Row


@dataclass(frozen=True)
class Stage:
    """A folder, a model, and the row that the fault fills."""

    directory: Path
    bundle: Path
    row: Row
    seed: str
    """What random moments are drawn from: another for each run."""

    def stack(self, **settings: Any) -> Stack:
        """Broker, camera, service and subscriber, in the folder `stack`."""
        return Stack(self.directory / "stack", self.bundle, self.row, seed=self.seed, **settings)


@dataclass(frozen=True)
class Fault:
    """A fault that can be injected `times` times; `quick` times in the short version, 0: it is left out of that."""

    part: str
    name: str
    run: Callable[[Stage, int], None]
    times: int
    quick: int
    needs: Callable[[], str | None]
    """Why it cannot be injected here; None where it can."""
    runs: int
    """In how many runs of `times` it is injected, beside one another."""
    weight: float
    """Seconds that one injection takes, about."""

    @property
    def key(self) -> str:
        return f"{self.part}.{self.run.__name__}"


FAULTS: dict[str, Fault] = {}


def fault(
    part: str,
    name: str,
    *,
    times: int,
    quick: int = 0,
    needs: Callable[[], str | None] = lambda: None,
    runs: int = 1,
    weight: float = 15,
) -> Callable[[Callable[[Stage, int], None]], Callable[[Stage, int], None]]:
    """Enter a function into `FAULTS`."""

    def enter(run: Callable[[Stage, int], None]) -> Callable[[Stage, int], None]:
        one = Fault(part, name, run, times, quick, needs, runs, weight)
        FAULTS[one.key] = one
        return run

    return enter
