"""`whycam score`: what the model says of a whole video."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from whycam.commands.options import BundleOption, MethodOption, PrecisionOption, ProviderOption, VersusOption
from whycam.default_methods import METHOD, TIME
from whycam.errors import InputError

_AHEAD = 8
"""Frames of their own size that are read ahead where a film is made of them."""


def score(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video file, or any source such as rtsp://...")],
    bundle: BundleOption,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FOLDER",
            help="Write decisions.jsonl, annotated.mp4 and timeline.png there, replacing these three files alone.",
        ),
    ] = None,
    method: MethodOption = METHOD,
    versus: VersusOption = "normal",
    precision: PrecisionOption = "fp32",
    provider: ProviderOption = None,
) -> None:
    """Score a VIDEO: a JSON line for each decision, on stdout.

    A line holds time (seconds), scores by class (null until a window is full), label, warm and alert. With -o, also an
    annotated video, where a heat map shows the reason of each alert, and the scores over time.
    """
    from whycam.commands.progress import tracked
    from whycam.detect import load
    from whycam.detect.decision import alerting
    from whycam.detect.model import check_offered
    from whycam.detect.recording import decided
    from whycam.explain.methods import method_named
    from whycam.explain.target import contrast, target_vector
    from whycam.sources import open_source
    from whycam.sources.file import announcement
    from whycam.sources.uri import is_live

    if output is not None and is_live(video):
        raise InputError(f"--output {output}: a film of a camera would have no end; record a video and score that")
    method_named(method)
    detector = load(bundle, precision, provider)
    manifest = detector.manifest
    for name in manifest.anomalies:
        target_vector(manifest.classes, name, contrast(manifest, name, versus))
    if output is not None:
        check_offered(manifest, method_named(method), method)
    # The film shows no shares of the frames, so the cheapest way to them will do.
    quick = "relevance" if "relevance" in detector.model.time_methods else TIME
    frames = open_source(video)
    announced = announcement(video)

    if output is None and is_live(video):
        for frame in tracked(frames, "scoring", None):
            decision = detector.push(frame.image, frame.time)
            if decision is not None:
                print(decision.json(), flush=True)
        return
    if output is None:
        with closing(decided(detector, frames)) as decisions:
            for _, decision in tracked(decisions, "scoring", announced.frames):
                if decision is not None:
                    print(decision.json(), flush=True)
        return

    from whycam.pictures.record import Record
    from whycam.sources.ahead import Ahead

    with Record(output, manifest, title=Path(video).name, fps=announced.fps) as record, Ahead(frames, _AHEAD) as ahead:
        for frame in tracked(ahead, "scoring", announced.frames):
            decision = detector.push(frame.image, frame.time)
            heatmap = None
            if decision is not None:
                print(decision.json(), flush=True)
                if decision.alert:
                    label = alerting(decision.scores, manifest.thresholds)[0]
                    versus_class = contrast(manifest, label, versus)
                    made = detector.explain(method, label, versus_class, frames=[-1], time=quick)
                    heatmap = made.heatmaps[-1]
            record.add(frame, decision, heatmap)
    print(f"whycam: wrote {', '.join(str(path) for path in record.paths)}", file=sys.stderr)
