"""`whycam explain`: why the model decided as it did at one moment of a video."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whycam.commands.options import BundleOption, MethodOption, PrecisionOption, ProviderOption, VersusOption
from whycam.errors import InputError
from whycam.explain.default import METHOD

if TYPE_CHECKING:
    from whycam.explain import Explanation


def explain(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="The video file.")],
    bundle: BundleOption,
    at: Annotated[float, typer.Option("--at", metavar="SECONDS", help="The moment: the window ends at or before it.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="why.png for a picture, why.npz for the arrays.")
    ],
    label: Annotated[
        str | None, typer.Option("--label", help="The class to explain; by default the one decided.")
    ] = None,
    versus: VersusOption = "normal",
    method: MethodOption = METHOD,
    precision: PrecisionOption = "fp32",
    provider: ProviderOption = None,
) -> None:
    """Show where, and in which frames, the model saw what it decided at one moment of a VIDEO.

    The picture shows the window's frames under heat maps on one scale, and each frame's relevance below. The .npz holds
    heatmaps, relevance, times, frames, scores, classes, label, method and versus.
    """
    if not (math.isfinite(at) and at >= 0):
        raise InputError(f"--at {at}: must be seconds from the start of the video")
    if output.suffix not in (".png", ".npz"):
        raise InputError(f"{output}: the output is a picture or arrays; name it .png or .npz")
    if not output.parent.is_dir():
        raise InputError(f"{output}: no such folder as {output.parent}; create it first")

    import dataclasses

    import numpy as np

    from whycam.commands.progress import tracked
    from whycam.detect import load
    from whycam.detect.window import window_at
    from whycam.explain.methods import method_named
    from whycam.explain.target import contrast, target_vector
    from whycam.sources import open_source
    from whycam.sources.file import announcement
    from whycam.sources.uri import is_live

    if is_live(video):
        raise InputError("VIDEO is a camera, which has no beginning to count from; record a video and explain that")
    method_named(method)
    detector = load(bundle, precision, provider)
    manifest = detector.manifest
    if label is not None:
        target_vector(manifest.classes, label, contrast(manifest, label, versus))

    frames = tracked(open_source(video), "reading", announcement(video).frames)
    window = window_at(frames, manifest.window, at)
    for frame in window:
        decision = detector.push(frame.image)
    assert decision is not None
    label = label or decision.label
    assert label is not None
    explanation = dataclasses.replace(
        detector.explain(method, label, contrast(manifest, label, versus)),
        times=np.array([frame.time for frame in window]),
    )

    draft = output.with_name(f".{output.stem}.part{output.suffix}")
    try:
        if output.suffix == ".png":
            from whycam.pictures.figure import draw_explanation

            draw_explanation(explanation, decision.scores[label], draft, [frame.image for frame in window])
        else:
            _save_arrays(explanation, decision.scores, draft)
        draft.replace(output)
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror})") from error
    finally:
        draft.unlink(missing_ok=True)


def _save_arrays(explanation: Explanation, scores: dict[str, float], path: Path) -> None:
    import numpy as np

    np.savez_compressed(
        path,
        heatmaps=explanation.heatmaps,
        relevance=explanation.relevance,
        times=explanation.times,
        frames=explanation.frames,
        scores=np.array(list(scores.values()), dtype=np.float32),
        classes=np.array(list(scores)),
        label=np.array(explanation.label),
        method=np.array(explanation.method),
        versus=np.array(explanation.versus or "none"),
    )
