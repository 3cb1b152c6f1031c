"""`whycam demo`: the whole road on generated scenes, and a page that shows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from whycam_export.demo.live import Received


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="An empty folder, or that of an earlier demo.")
    ] = Path("whycam-demo"),
    seed: Annotated[int, typer.Option(help="Draws the scenes and the first weights.")] = 0,
) -> None:
    """Show all of whycam on scenes made up for the purpose, offline, in less than five minutes.

    Films scenes of fights, fires, shootings and everyday life whose truth is known, trains on some, exports the model,
    lets the detector watch others that it has never seen, and explains each alert. At the end the service watches one
    live, and a subscriber receives the alert over MQTT. FOLDER/index.html shows it all.

    Prints the part of windows with the right label, the part of heat maps that peak on the anomaly, and the seconds
    from threshold to alert. Ends with status 1 where one is not as promised (0.95, 0.6 and 2 s).
    """
    from rich.console import Console

    from whycam_export.demo.measure import ACCURACY_REQUIRED, POINTING_REQUIRED
    from whycam_export.demo.run import Plan, run

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    report = run(Plan(output, seed), console)
    points = report.pointing
    for line in (
        f"window accuracy      {report.accuracy:.3f} of {int(report.counts.sum())} windows"
        f" in {len(report.clips)} unseen clips (needed: {ACCURACY_REQUIRED:g})",
        f"peaks on the anomaly {points.rate:.3f} of {points.frames} explained frames"
        f" (needed: {POINTING_REQUIRED:g}; by chance: {points.chance:.3f})",
        f"live alert           {_live(report.live)}",
        f"page                 {output / 'index.html'}",
    ):
        print(line)
    shortfalls = report.shortfalls()
    if shortfalls:
        console.print(f"whycam: the demo is not right: {'; '.join(shortfalls)}", style="red", markup=False)
        raise typer.Exit(1)


def _live(live: Received | str | None) -> str:
    from whycam_export.demo.live import ALLOWED_SECONDS

    if live is None:
        return "left out: no Mosquitto here"
    if isinstance(live, str):
        return "did not come"
    return f"{live.delay:.2f} s after the threshold, over MQTT (allowed: {ALLOWED_SECONDS:g})"
