"""`whycam calibrate`: what works on a bundle with real footage."""

from __future__ import annotations

import typer

from whycam_calibration.commands.drift import drift
from whycam_calibration.commands.precision import precision
from whycam_calibration.commands.report import report
from whycam_calibration.commands.thresholds import thresholds

app = typer.Typer(
    help="Make a bundle fast, set its thresholds from real footage, and prove what that cost.", no_args_is_help=True
)
app.command()(precision)
app.command()(thresholds)
app.command()(drift)
app.command()(report)
