"""`whycam calibrate thresholds`: when to raise, from real footage."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from whycam.commands.options import PrecisionOption, ProviderOption
from whycam_calibration.errors import CalibrationError


def thresholds(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The model; what is found is written into it.")],
    footage: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Labelled clips that training has not seen: a folder per class, or a manifest."
        ),
    ] = None,
    normal_footage: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Videos in which nothing happens; may be repeated."),
    ] = None,
    false_alarms_per_day: Annotated[
        float | None,
        typer.Option(help="What a camera may raise for nothing, all classes together.", show_default="1"),
    ] = None,
    false_alarms_per_hour: Annotated[float | None, typer.Option(help="The same, by the hour.")] = None,
    held_back: Annotated[
        float, typer.Option(help="The part of the normal footage that checks what the rest promises.")
    ] = 0.333,
    precision: PrecisionOption = "fp32",
    provider: ProviderOption = None,
) -> None:
    """Set a BUNDLE's thresholds for so many false alarms, from footage, and say what is promised and what is not.

    Temperature, the score that raises, the score that clears and how long it must hold are written into the bundle,
    with a report; `whycam run` follows them wherever the configuration says nothing else.
    """
    if false_alarms_per_day is not None and false_alarms_per_hour is not None:
        raise CalibrationError("--false-alarms-per-day and --false-alarms-per-hour say the same: give one of them")
    if false_alarms_per_hour is None:
        false_alarms_per_hour = (1.0 if false_alarms_per_day is None else false_alarms_per_day) / 24

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from whycam.bundle import reopened, revise
    from whycam_calibration.report.screen import screen, show, tell_signature
    from whycam_calibration.report.stored import report_files
    from whycam_calibration.thresholds import Options, calibrate
    from whycam_calibration.thresholds.report import report_of

    options = Options(false_alarms_per_hour, held_back, precision, provider)
    stderr = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("opening", total=None)
        made = calibrate(
            bundle,
            footage,
            normal_footage or (),
            options,
            lambda name, done, total: bar.update(task, description=f"watching {name}", completed=done, total=total),
            lambda step: bar.update(task, description=step, total=None),
        )
        bar.update(task, description="drawing the report")
        report = report_of(made)
    for why in made.material.unread.values():
        print("whycam: left out:", " ".join(why.split()), file=sys.stderr)
    signed = made.bundle.signed
    revise(reopened(made.bundle), report_files(report), **made.changes())
    show(report, screen())
    print(f"whycam: wrote {made.bundle.path}: manifest.json, calibration.thresholds.html and .json", file=sys.stderr)
    tell_signature(signed, made.bundle.path, stderr)
