"""From the start of a fresh process to its first decision, and the memory that it has taken then."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import IO

from whycam.bench import first_decision
from whycam.bench.clip import Clip
from whycam.bench.memory import Memory
from whycam.bench.timing import Show, Spread
from whycam.bench.variants import Guard, Variant
from whycam.bundle import Bundle
from whycam.errors import WhycamError


@dataclass(frozen=True)
class ColdStart:
    """Seconds since the process was started, files in the system's cache."""

    first_frame: Spread
    """Until the first frame has been through the model: interpreter, libraries, bundle, sessions."""
    first_decision: Spread
    """Until the window was full, its frames taken as fast as they can be."""
    memory: Memory
    """When it has explained once."""


@dataclass(frozen=True)
class _Run:
    first_frame: float
    first_decision: float
    memory: Memory


def measure_cold_starts(
    bundle: Bundle,
    variants: Sequence[Variant],
    clip: Clip,
    rounds: int,
    show: Show,
    guard: Guard = nullcontext,
    threads: int | None = None,
) -> dict[Variant, ColdStart]:
    """The cold starts of `variants`, in turn, without those that failed and whose `guard` let the others go on.

    Raises WhycamError, with the process's last words, where one ends before it is done.
    """
    runs: dict[Variant, list[_Run]] = {variant: [] for variant in variants}
    for done in range(rounds):
        for place, variant in enumerate(variants):
            show("cold starts", done * len(variants) + place, rounds * len(variants))
            if variant in runs:
                run = None
                with guard(variant):
                    run = _run(bundle, variant, clip, threads)
                if run is None:
                    del runs[variant]
                else:
                    runs[variant].append(run)
    show("cold starts", rounds * len(variants), rounds * len(variants))
    return {variant: _together(found) for variant, found in runs.items()}


def _run(bundle: Bundle, variant: Variant, clip: Clip, threads: int | None) -> _Run:
    arguments = [
        str(bundle.path),
        variant.precision,
        variant.provider,
        clip.source,
        *([] if threads is None else [str(threads)]),
    ]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", first_decision.__name__, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        moments = {}
        for said in (first_decision.FIRST_FRAME, first_decision.FIRST_DECISION):
            _hear(process.stdout, said)
            moments[said] = time.perf_counter() - start
        told, complaint = process.stdout.read(), process.stderr.read()
    if process.returncode != 0:
        last = complaint.strip().rpartition("\n")[2] or "it said nothing"
        raise WhycamError(f"a fresh process for {variant} ended with status {process.returncode}: {last}")
    return _Run(moments[first_decision.FIRST_FRAME], moments[first_decision.FIRST_DECISION], Memory(**json.loads(told)))


def _hear(stream: IO[str], said: str) -> None:
    """Wait for the line `said`, or the end."""
    for line in stream:
        if line.strip() == said:
            return


def _together(runs: list[_Run]) -> ColdStart:
    resident = [run.memory.resident for run in runs if run.memory.resident is not None]
    peak = [run.memory.peak for run in runs if run.memory.peak is not None]
    return ColdStart(
        Spread.of([run.first_frame for run in runs]),
        Spread.of([run.first_decision for run in runs]),
        Memory(int(statistics.median(resident)) if resident else None, max(peak, default=None)),
    )
