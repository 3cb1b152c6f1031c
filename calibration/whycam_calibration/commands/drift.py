"""`whycam calibrate drift`: what is usual, so that the service can tell when it is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from whycam.commands.options import PrecisionOption, ProviderOption

Item = TypeVar("Item")


def drift(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle; the statistics are stored in it.")],
    footage: Annotated[
        Path,
        typer.Option(
            "--footage", metavar="DIR", help="A folder of videos: normal footage of the cameras it will watch."
        ),
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            "-c", "--config", metavar="FILE", help="The service's configuration: take a camera's zones from it."
        ),
    ] = None,
    camera: Annotated[
        str | None, typer.Option("--camera", help="Whose zones to take, where there are several cameras.")
    ] = None,
    precision: PrecisionOption = "fp32",
    provider: ProviderOption = None,
) -> None:
    """Store in a BUNDLE what its cameras usually show: the service then reports when one shows something else.

    A camera that moved, a dirty lens, night. At least a minute of footage is needed; hours of it, at all times of the
    day that are normal, make the limits narrow and true.
    """
    from rich.console import Console

    from whycam.bundle import Bundle
    from whycam.clips import find_videos
    from whycam.commands.progress import tracked
    from whycam.detect import Model
    from whycam_calibration.drift import calibrate_drift
    from whycam_calibration.drift.zones import zones_of
    from whycam_calibration.report.screen import screen, show, tell_signature

    opened = Bundle.open(bundle)
    videos = find_videos(footage)
    prepare = zones_of(config, camera)
    model = Model(opened, precision, provider)
    signed = opened.signed
    left = iter(range(len(videos), 0, -1))

    def track(items: Iterable[Item], total: int | None) -> Iterator[Item]:
        return tracked(items, f"watching, {next(left)} to go", total)

    report = calibrate_drift(opened, model, videos, prepare, track)
    console = screen()
    show(report, console)
    console.print(f"[dim]{bundle / 'calibration.drift.html'}[/]", soft_wrap=True)
    tell_signature(signed, bundle, Console(stderr=True))
