"""`whycam calibrate report`: what calibration found, once more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle that has been calibrated.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON instead, by kind.")] = False,
) -> None:
    """Show what the calibrations of a BUNDLE found; the pages with the pictures are named below."""
    from whycam.bundle import Bundle
    from whycam_calibration.report.screen import screen, show
    from whycam_calibration.report.stored import read_reports

    reports = read_reports(Bundle.open(bundle))
    if as_json:
        import json

        print(json.dumps({each.kind: each.figures for _, each in reports}, indent=2))
        return
    console = screen()
    for path, each in reports:
        show(each, console)
        console.print(f"[dim]{path}[/]\n", soft_wrap=True)
