"""All faults, two at a time, and one table: python -m tests.chaos."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.chaos.faults import FAULTS, Fault
from tests.chaos.verdict import RECOVERY_SECONDS, Row
from tests.chaos.worker import PARTS, load
from tests.runtime import tiny_bundle

ROOT = Path(__file__).parents[2]
FAULT_SECONDS = 900


@dataclass(frozen=True)
class Job:
    """A fault to inject `times` times, on a stack of its own."""

    fault: Fault
    times: int
    run: int

    @property
    def name(self) -> str:
        return f"{self.fault.key}-{self.run}"


def jobs(only: Sequence[str], *, quick: bool) -> list[Job]:
    """What to run: all faults, or those whose part or key is in `only`; the longest first."""
    load()
    chosen = [
        one for one in FAULTS.values() if (one.quick or not quick) and (not only or {one.part, one.key} & set(only))
    ]
    made = [
        Job(one, one.quick if quick else one.times, run) for one in chosen for run in range(1 if quick else one.runs)
    ]
    return sorted(made, key=lambda job: -job.fault.weight * (1 if quick else job.times))


class Running:
    """The workers that run now, so that all can be ended."""

    def __init__(self, directory: Path, bundle: Path) -> None:
        self._directory, self._bundle = directory, bundle
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def run(self, job: Job) -> Row:
        """The row of `job`."""
        folder = self._directory / job.name
        folder.mkdir()
        command = [sys.executable, "-m", "tests.chaos.worker", job.fault.key, job.times, folder, self._bundle, job.name]
        if os.geteuid() == 0 and _may_unshare():
            command = ["unshare", "--mount", *command]
        with (folder / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
            )
        self._processes.add(process)
        try:
            process.wait(FAULT_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _end(process)
            self._processes.discard(process)
        written = folder / "row.json"
        if written.exists():
            return Row(**json.loads(written.read_text()))
        said = (folder / "worker.log").read_text(errors="replace")[-1000:]
        problem = "interrupted" if self._ended else f"the fault did not come to its end: {said}"
        return Row(job.fault.name, job.fault.part, problems=[problem])

    def end(self) -> None:
        """End them all."""
        self._ended = True
        for process in tuple(self._processes):
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _may_unshare() -> bool:
    tried = (
        subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
        if shutil.which("unshare")
        else None
    )
    return tried is not None and tried.returncode == 0


def run_all(
    chosen: Sequence[Job], directory: Path, *, stacks: int, done: Callable[[Job, Row], None] = lambda *_: None
) -> list[Row]:
    """Run `chosen`, `stacks` at a time; one row for each fault, in the order in which they are defined."""
    bundle = tiny_bundle.build(directory / "colours.whycam")
    running = Running(directory, bundle)
    rows: dict[str, Row] = {}

    def run(job: Job) -> tuple[Job, Row]:
        row = running.run(job)
        done(job, row)
        return job, row

    try:
        with ThreadPoolExecutor(stacks) as pool:
            try:
                for job, row in pool.map(run, chosen):
                    key = job.fault.key
                    rows[key] = rows[key].add(row) if key in rows else row
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                running.end()
                raise
    finally:
        running.end()
    return [rows[key] for key in FAULTS if key in rows]


HEADINGS = (
    "fault",
    "injected",
    "alerts expected",
    "received",
    "lost",
    "wrong order",
    "duplicates",
    "recovery s, median",
    "max",
)


def cells(row: Row) -> list[str]:
    """The columns of the table."""
    if row.skipped:
        return [f"{row.part}: {row.fault}", f"skipped: {row.skipped}", *[""] * (len(HEADINGS) - 2)]
    known = [seconds for seconds in row.recovery if seconds is not None]
    middle = f"{median(known):.1f}" if known else "–"
    longest = "never" if len(known) < len(row.recovery) else f"{max(known):.1f}" if known else "–"
    counts = (row.injected, row.expected, row.received, row.lost, row.wrong_order, row.duplicates)
    return [f"{row.part}: {row.fault}", *(f"{count:,}" for count in counts), middle, longest]


def total(rows: Sequence[Row]) -> Row:
    """All rows in one."""
    whole = Row("all", "total")
    for row in rows:
        if not row.skipped:
            whole = whole.add(row)
    return whole


def as_table(rows: Sequence[Row]) -> Table:
    table = Table()
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*cells(row), style=None if row.passed else "red")
    table.add_section()
    table.add_row(*cells(total(rows)))
    return table


def as_markdown(rows: Sequence[Row], command: str, seconds: float) -> str:
    """The page."""
    day = datetime.now(timezone.utc).date().isoformat()
    lines = [
        "# Faults it survives",
        "",
        "A real Mosquitto, a camera that speaks RTSP, `whycam run` as a process under a supervisor, and a subscriber",
        "with a persistent session. The camera plays a known script of anomalies while faults are injected; what",
        "arrives is counted at the subscriber.",
        "",
        f"    {command}",
        "",
        f"Run on {day}, {os.cpu_count()} cores, {seconds / 60:.0f} minutes. "
        f"The goal, 0 lost, 0 duplicates and recovery within {RECOVERY_SECONDS:g} s, "
        + ("was met." if all(row.passed for row in rows) else "**was not met.**"),
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|---|" + "---:|" * (len(HEADINGS) - 1),
    ]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in (*rows, total(rows))]
    lines += [
        "",
        "- *alerts expected*: anomalies that the camera showed while the service could see it for long enough, and",
        "  *received*: those whose `raised` arrived at least once.",
        "- *lost*: anomalies never raised; messages of an episode missing between its `raised` and its `cleared`;",
        "  alerts that the service's log says it accepted and that never arrived.",
        "- *wrong order*: messages that came after a later one of their episode, at their first arrival.",
        "- *duplicates*: after removing repetitions by `event_id`, two episodes for one anomaly. One is no",
        "  duplicate: a camera or service that was away for longer than `signal_lost_seconds` ends its episode",
        "  (`signal-lost`); what is seen afterwards is another.",
        "- *recovery*: from the end of the fault (for a kill: the kill) to the first scores made after it.",
        "",
    ]
    notes = [f"- {row.part}, {row.fault}: {note}" for row in rows for note in (*row.notes, *row.problems)]
    if notes:
        lines += ["Noted:", "", *notes, ""]
    return "\n".join(lines)


@contextmanager
def folder(keep: Path | None) -> Iterator[Path]:
    """Where the stacks' files are; kept where a place is given."""
    if keep is not None:
        shutil.rmtree(keep, ignore_errors=True)
        keep.mkdir(parents=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as made:
        yield Path(made)


def main(
    only: Annotated[
        list[str] | None, typer.Option(help=f"A part ({', '.join(PARTS)}), or a fault such as broker.killed.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="The worst faults only, once or twice.")] = False,
    stacks: Annotated[int, typer.Option(help="How many faults run beside one another.")] = 2,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the table there, as Markdown.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep all logs in this folder.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write the rows there.")] = None,
) -> None:
    """Inject faults, count alerts, print the table; exit status 1 where the goal is missed."""
    # A log has room for whole lines.
    console = Console(width=None if sys.stdout.isatty() else 150)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    start = time.monotonic()
    with folder(keep) as directory:

        def done(job: Job, row: Row) -> None:
            mark = "skipped" if row.skipped else "ok" if row.passed else "MISSED"
            print(f"{job.name}: {mark}, {row.seconds:.0f} s", file=sys.stderr, flush=True)

        rows = run_all(jobs(only or (), quick=quick), directory, stacks=stacks, done=done)
    console.print(as_table(rows))
    for row in rows:
        for note in (*row.notes, *row.problems):
            console.print(f"{row.part}: {row.fault}: {note}", markup=False, highlight=False)
    if as_json is not None:
        as_json.write_text(json.dumps([row.as_dict() for row in rows], indent=1) + "\n")
    if output is not None:
        output.write_text(as_markdown(rows, "make chaos", time.monotonic() - start))
    raise typer.Exit(0 if all(row.passed for row in rows) else 1)


if __name__ == "__main__":
    typer.run(main)
