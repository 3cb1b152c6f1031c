"""`whycam bench`: what a bundle costs on this device."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from whycam.errors import InputError


def bench(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The model: a bundle that `whycam export` wrote.")],
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision", help="Measure this one of the bundle's feature extractors; may be repeated. By default all."
        ),
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", help="Measure on cpu, cuda or tensorrt; may be repeated. By default on all here."),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            "--fps",
            help="Decisions per second that each camera should get; by default the bundle's.",
            show_default=False,
        ),
    ] = None,
    video: Annotated[
        str | None,
        typer.Option("--video", metavar="FILE", help="Measure with this video, one of your camera's for example."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            max=1024,
            help="Cores that the model may use at once, as the service's `threads`; by default all.",
            show_default=False,
        ),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often each figure is measured.")] = 7,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FOLDER", help="Write bench.json and bench.png there, replacing these two alone."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the table.")] = False,
) -> None:
    """Measure what a BUNDLE costs on this device, and how many cameras it can hold.

    For each of the bundle's precisions on each execution provider: the stages of a decision and its explanation, beside
    ONNX Runtime alone; cameras held at the wanted rate; cold start and memory. Leave the device alone meanwhile.
    """
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise InputError(f"--fps {fps}: must be a positive number of decisions per second")

    import tempfile

    from rich.console import Console

    from whycam.bench.clip import draw_clip, open_clip
    from whycam.bench.measure import measure
    from whycam.bench.output import Output
    from whycam.bench.table import show
    from whycam.bench.variants import choose_variants
    from whycam.bundle import Bundle
    from whycam.commands.progress_bars import Bars

    opened = Bundle.open(bundle)
    variants = choose_variants(opened, precision or (), provider or ())
    files = None if output is None else Output(output)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="whycam-bench-") as folder, Bars(console) as bars:
        clip = draw_clip(Path(folder)) if video is None else open_clip(video)
        report = measure(
            opened, variants, clip, bars.show, named=provider or (), fps=fps, rounds=rounds, threads=threads
        )
    try:
        # Before anything is printed: who reads it may be gone.
        if files is not None:
            files.write(report)
            written = ", ".join(str(path) for path in files.paths)
            console.print(f"whycam: wrote {written}", soft_wrap=True, highlight=False)
    finally:
        if as_json:
            print(report.json())
        else:
            show(report, Console(highlight=False))
