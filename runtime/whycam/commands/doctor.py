"""`whycam doctor`: what stands in the way, and the exact fix."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    config: Annotated[
        Path | None,
        typer.Option(
            "-c",
            "--config",
            metavar="FILE",
            help="The service's configuration; without it, the platform alone is looked at.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the screen.")] = False,
    seconds: Annotated[
        float, typer.Option("--seconds", min=5, max=600, help="The whole run ends within so many seconds.")
    ] = 30,
) -> None:
    """See whether this device is ready: platform, libraries, clock, disk, secrets, broker, cameras, models.

    Each failure names its fix. Exit status 0: well, or warnings alone; 1: failures; 2: the configuration is wrong.
    """
    import logging

    from rich.console import Console

    from whycam.commands.progress_bars import Bars
    from whycam.doctor.catalogue import SECTIONS
    from whycam.doctor.examine import examine
    from whycam.doctor.installation import Installation
    from whycam.doctor.machine import Machine
    from whycam.doctor.report import Status
    from whycam.doctor.screen import show

    installation = Installation(Machine(), config, seconds)
    if config is not None and installation.loads("numpy"):
        from whycam.config.file import load_config

        installation.config = load_config(config)
    # What the parts would log is in the findings.
    logging.disable(logging.CRITICAL)
    with Bars(Console(stderr=True)) as bars:
        report = examine(
            installation,
            lambda section, done, total: bars.show(SECTIONS[section], done, total),
        )
    if as_json:
        print(report.json())
    else:
        show(report, Console(highlight=False))
    raise typer.Exit(1 if report.status is Status.FAILURE else 0)
