"""Run the machines and write their table: `python -m tests.machines vm`, `python -m tests.machines arm64`."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tests.chaos import small_disk
from tests.machines import arm64, bundle_rows, disk, image, kit_rows, kits, machine, power, prepared, report, service
from tests.machines.rows import Row
from tests.machines.stage import Part, Stage, end_all
from tests.runtime.mqtt import broker

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "machines"
PAGE = ROOT / "docs" / "reference" / "machines.md"
PARTS: dict[str, Part] = {
    "service": service.run,
    "kit": kit_rows.run,
    "alerts": power.alerts,
    "install": power.bundles,
    "upgrade": power.upgrade,
    "bundles": bundle_rows.run,
}
# The longest first.
ORDER = ("upgrade", "kit", "alerts", "install", "bundles", "service")
app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def main() -> None:
    """The device kit on machines of its own."""


def missing() -> str | None:
    """Why the virtual machine cannot run here; None where it can."""
    needs = (image.missing, machine.missing, disk.missing, small_disk.can_loop, broker.missing)
    return next((reason for one in needs if (reason := one())), None)


class Told:
    """What is going on, in a line for each part; as plain lines where nobody watches."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.fields[part]}"), TextColumn("{task.description}"), TimeElapsedColumn(),
            console=console, disable=not console.is_terminal, transient=True,
        )  # fmt: skip
        self._console = console
        self._begun = time.monotonic()
        self._tasks: dict[str, object] = {}

    def __enter__(self) -> Told:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, part: str, what: str) -> None:
        """`part` now does `what`."""
        if part not in self._tasks:
            self._tasks[part] = self._progress.add_task("", part=part)
        self._progress.update(self._tasks[part], description=what)  # type: ignore[arg-type]
        if not self._console.is_terminal:
            print(f"{time.monotonic() - self._begun:5.0f} s  {part}: {what}", file=sys.stderr, flush=True)

    def done(self, part: str, rows: Sequence[Row]) -> None:
        """`part` has ended."""
        for row in rows:
            colour = "green" if row.passed else "red"
            measured = escape("; ".join(row.measured))
            self._console.print(f"[{colour}]{row.outcome}[/] {escape(f'{row.part}: {row.check}')}: {measured}")
            for problem in row.problems:
                self._console.print(f"    {escape(problem)}")
        if part in self._tasks:
            self._progress.remove_task(self._tasks.pop(part))  # type: ignore[arg-type]


@app.command()
def vm(
    only: Annotated[list[str] | None, typer.Option(help=f"Parts: {', '.join(PARTS)}.")] = None,
    beside: Annotated[int, typer.Option(help="How many machines run beside one another.")] = 2,
    seed: Annotated[int, typer.Option(help="Draws the moments of the power cuts.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Each kind of power cut twice.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the table into docs/.")] = False,
) -> None:
    """A virtual x86-64 machine; exit status 1 where a check fails.

    The table is made of each part's last run on the same sources, and names those that have not run on them.
    """
    console = Console(width=None if sys.stdout.isatty() else 150)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if reason := missing():
        console.print(f"skipped: {reason}")
        raise typer.Exit(0)
    begun = time.monotonic()
    with Told(console) as told:
        first = _stage("image", told, quick=quick)
        chosen = [name for name in ORDER if not only or name in only]
        rows = run_parts(chosen, first, told, beside, seed)
    failed = [row for row in rows if not row.passed]
    minutes = (time.monotonic() - begun) / 60
    console.print(f"{len(rows) - len(failed)} of {len(rows)} checks passed, {minutes:.0f} minutes")
    if write:
        results = {name: report.read_part(CACHE, name, _made_from()) for name in PARTS}
        report.write(PAGE, "vm", report.vm_section(results, first.how))
    raise typer.Exit(1 if failed else 0)


def _made_from() -> str:
    """What results are results of."""
    return f"{image.key()} {kits.key()}"


@app.command("arm64")
def run_arm64(
    write: Annotated[bool, typer.Option("--write", help="Write the table into docs/.")] = False,
) -> None:
    """An aarch64 Debian under qemu-user; exit status 1 where a check fails."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if reason := arm64.missing():
        console.print(f"skipped: {reason}")
        raise typer.Exit(0)
    CACHE.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with Told(console) as told:
        rows = arm64.run(CACHE, lambda what: told.tell("arm64", what))
        told.done("arm64", rows)
    failed = [row for row in rows if not row.passed]
    if write:
        report.write(PAGE, "arm64", report.arm64_section(rows, time.monotonic() - begun))
    raise typer.Exit(1 if failed else 0)


def _stage(name: str, told: Told, *, quick: bool) -> Stage:
    """Everything that the machines are made from, in the cache."""

    def tell(what: str) -> None:
        told.tell(name, what)

    CACHE.mkdir(parents=True, exist_ok=True)
    tell("a Debian image")
    made = image.debian_image(CACHE)
    tell("the kits")
    made_kits = {
        "kit": kits.kit("debian-amd64", CACHE),
        "next": kits.kit("debian-amd64", CACHE, kits.NEXT_VERSION),
    }
    folder = CACHE / "vm"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    cargo = prepared.cargo(folder / "cargo", made_kits)
    tell("a disk with the kit installed")
    installed = prepared.installed(made, cargo, folder / "installed.raw")
    tell("KVM or emulation")
    how = machine.accelerator(made)
    told.done(name, ())
    return Stage(folder, made, how, cargo, installed, lambda _: None, random.Random(), quick)


def run_parts(chosen: Sequence[str], first: Stage, told: Told, beside: int, seed: int) -> list[Row]:
    """Their rows, in the order of `PARTS`; a part that breaks off is a row that failed."""
    ending = threading.Event()
    found: dict[str, list[Row]] = {}

    def run(name: str) -> None:
        if ending.is_set():
            return
        stage = dataclasses.replace(
            first,
            folder=first.folder / name,
            tell=lambda what: told.tell(name, what),
            random=random.Random(f"{seed} {name}"),
        )

        stage.folder.mkdir()
        begun = time.monotonic()
        try:
            found[name] = PARTS[name](stage)
        except Exception:
            (stage.folder / "failure.txt").write_text(traceback.format_exc())
            problem = traceback.format_exc(limit=-3)
            found[name] = [Row(name, "comes to its end", problems=[problem])]
        seconds = time.monotonic() - begun
        if not stage.quick:
            report.keep_part(CACHE, name, report.Result(_made_from(), seconds, found[name]))
        told.done(name, found[name])
        told.tell(name, f"ended after {seconds:.0f} s")

    with ThreadPoolExecutor(beside) as pool:
        try:
            list(pool.map(run, chosen))
        except BaseException:
            ending.set()
            end_all()
            # The parts still wait for what will not come.
            os._exit(1)
    return [row for name in PARTS for row in found.get(name, ())]


if __name__ == "__main__":
    app()
