"""`whycam calibrate precision`: INT8 or FP16, judged by footage that it was not made from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whycam_calibration.errors import CalibrationError


def precision(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle to make faster, in its place.")],
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            help="int8, fp16, or auto: int8, with layers left in float32 until it is near enough to fp32.",
        ),
    ],
    footage: Annotated[
        Path | None, typer.Option("--footage", metavar="DIR", help="Videos of the places where it will watch.")
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="How ranges are found: minmax, entropy or percentile.")
    ] = "minmax",
    images: Annotated[int, typer.Option("--images", help="Frames to take ranges from, at most.")] = 200,
    max_score_drift: Annotated[
        float, typer.Option("--max-score-drift", help="How far 95 % of windows' scores may move.")
    ] = 0.05,
    min_agreement: Annotated[
        float, typer.Option("--min-agreement", help="The share of windows that must keep their label.")
    ] = 0.99,
    min_heatmap_correlation: Annotated[
        float,
        typer.Option("--min-heatmap-correlation", help="The median that heat maps must correlate by with fp32's."),
    ] = 0.98,
    tensorrt: Annotated[
        bool, typer.Option("--tensorrt", help="Build TensorRT's engines on this device; alone, it needs no footage.")
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Keeps what is computed (by default ~/.cache/whycam/calibration)."),
    ] = None,
) -> None:
    """Add an INT8 or FP16 feature extractor to a BUNDLE, if it keeps what fp32 decides and why.

    Three quarters of the footage make it, the rest judges it. Outside the limits nothing is written. A run that was
    interrupted goes on where it was.
    """
    from rich.console import Console

    from whycam.bundle import Bundle
    from whycam.commands.progress_bars import Bars
    from whycam_calibration.precision.cache import default_cache
    from whycam_calibration.precision.gate import Limits
    from whycam_calibration.precision.options import Options
    from whycam_calibration.precision.run import calibrate_precision
    from whycam_calibration.precision.tensorrt import build_engines, check_tensorrt
    from whycam_calibration.report.screen import screen, show, tell_signature

    limits = Limits(max_score_drift, min_agreement, min_heatmap_correlation)
    options = Options(precision, method, images, limits, cache or default_cache())  # type: ignore[arg-type]  # it checks
    if tensorrt:
        check_tensorrt()
    elif footage is None:
        raise CalibrationError("--footage is missing: name a folder with videos of the places where it will watch")
    progress = Console(stderr=True)
    if footage is not None:
        signed = Bundle.open(bundle).signed
        with Bars(progress) as bars:
            report = calibrate_precision(bundle, footage, options, bars.show)
        show(report, screen())
        page = bundle / f"calibration.{report.kind}.html"
        progress.print(f"whycam: wrote {page}, and what it tells of, into {bundle}", soft_wrap=True, highlight=False)
        tell_signature(signed, bundle, progress)
    if tensorrt:
        wanted = "int8" if precision == "auto" else precision
        with Bars(progress) as bars:
            folder = build_engines(Bundle.open(bundle), wanted, bars.show)
        progress.print(f"whycam: TensorRT's engines are in {folder}", soft_wrap=True, highlight=False)
