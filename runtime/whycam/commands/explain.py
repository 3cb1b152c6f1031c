"""`whycam explain`: why the model decided as it did at one moment of a video."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from whycam.commands.options import PrecisionOption, ProviderOption, VersusOption
from whycam.default_methods import METHOD, TIME
from whycam.errors import InputError

if TYPE_CHECKING:
    from whycam.detect import Detector, Snapshot
    from whycam.detect.model import Frames, Reference
    from whycam.explain import Explanation
    from whycam.sources import Frame

VIEWS = ("heat", "contours", "feature-maps")
REFERENCES = ("auto", "usual", "none")


def explain(
    video: Annotated[str | None, typer.Argument(metavar="VIDEO", help="The video file.", show_default=False)] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("-b", "--bundle", metavar="BUNDLE", help="The model: a bundle that `whycam export` wrote."),
    ] = None,
    at: Annotated[
        float | None,
        typer.Option("--at", metavar="SECONDS", help="The window ends at or before it.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="why.png for a picture, why.npz for the arrays."),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="The class to explain; by default the one decided.")
    ] = None,
    versus: VersusOption = "normal",
    method: Annotated[
        str, typer.Option("--method", metavar="NAME[,NAME...]", help="Where; several are drawn side by side.")
    ] = METHOD,
    time: Annotated[str, typer.Option("--time", metavar="NAME", help="When: how the frames' shares are found.")] = TIME,
    frames: Annotated[
        str,
        typer.Option("--frames", metavar="N|all", help="Which get heat maps: the N most relevant, or all."),
    ] = "all",
    counter: Annotated[
        bool, typer.Option("--counter", help="Show what speaks against the class instead of what speaks for it.")
    ] = False,
    reference: Annotated[
        str,
        typer.Option(
            metavar="|".join(REFERENCES),
            help="`usual`: show what differs from what the camera usually shows.",
        ),
    ] = "auto",
    view: Annotated[
        str,
        typer.Option(metavar="|".join(VIEWS), help="What the picture shows."),
    ] = "heat",
    listed: Annotated[
        bool,
        typer.Option("--list", help="List the methods; with -b, which of them it offers."),
    ] = False,
    precision: PrecisionOption = "fp32",
    provider: ProviderOption = None,
) -> None:
    """Show where, and in which frames, the model saw what it decided at one moment of a VIDEO.

    The picture shows the window's frames under heat maps on one scale, and each frame's relevance below. The .npz holds
    heatmaps, relevance, times, frames, scores, classes, label, method, time, versus, counter, reference and explained;
    with several methods, heatmaps stand as heatmaps.NAME.
    """
    if listed:
        _list(bundle)
        return
    given = {"VIDEO": video, "--bundle": bundle, "--at": at, "--output": output}
    missing = [name for name, value in given.items() if value is None]
    if missing or video is None or bundle is None or at is None or output is None:
        raise InputError(f"{', '.join(missing)} missing: whycam explain VIDEO -b BUNDLE --at SECONDS -o why.png")
    if not (math.isfinite(at) and at >= 0):
        raise InputError(f"--at {at}: must be seconds from the start of the video")
    if output.suffix not in (".png", ".npz"):
        raise InputError(f"{output}: the output is a picture or arrays; name it .png or .npz")
    if not output.parent.is_dir():
        raise InputError(f"{output}: no such folder as {output.parent}; create it first")
    if view not in VIEWS:
        raise InputError(f"--view {view}: choose {', '.join(VIEWS)}")

    from whycam.detect import load
    from whycam.detect.model import check_offered
    from whycam.explain.methods import method_named, time_method_named
    from whycam.explain.target import contrast, target_vector
    from whycam.sources.uri import is_live

    if is_live(video):
        raise InputError("VIDEO is a camera, which has no beginning to count from; record a video and explain that")
    methods = [name.strip() for name in method.split(",")]
    chosen, against = _frames(frames), _reference(reference)
    ways = [(method_named(name, counter), name) for name in methods] + [(time_method_named(time, counter), time)]
    detector = load(bundle, precision, provider)
    manifest = detector.manifest
    for way, name in ways:
        check_offered(manifest, way, name)
    if label is not None:
        target_vector(manifest.classes, label, contrast(manifest, label, versus))

    window, pictures = _window(detector, video, at, before=against != "none")
    label = label or window.label
    made = detector.model.compare(
        window, methods, label, contrast(manifest, label, versus), frames=chosen, time=time, counter=counter,
        reference=against,
    )  # fmt: skip
    _write(output, made, window, pictures, view)


def _frames(text: str) -> Frames:
    if text == "all":
        return "all"
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--frames {text}: give how many of the most relevant frames, at least 1, or all")
    return int(text)


def _reference(text: str) -> Reference:
    if text not in REFERENCES:
        raise InputError(f"--reference {text}: choose {', '.join(REFERENCES)}")
    return cast("Reference", text)


def _window(detector: Detector, video: str, at: float, *, before: bool) -> tuple[Snapshot, list[Frame]]:
    """The window that ends at `at`, and its frames in their own size.

    With what came `before` in the video, from which what is usual is known; else only the window's own frames go
    through the model.
    """
    import dataclasses

    from whycam.commands.progress import tracked
    from whycam.detect.recording import decided
    from whycam.detect.window import window_at
    from whycam.sources import open_source
    from whycam.sources.file import announcement

    count = announcement(video).frames
    pictures = window_at(tracked(open_source(video), "reading", count), detector.manifest.window, at)
    if not before:
        for frame in pictures:
            detector.push(frame.image)
        window = detector.snapshot()
        samples = [
            dataclasses.replace(sample, time=frame.time) for sample, frame in zip(window.samples, pictures, strict=True)
        ]
        return dataclasses.replace(window, samples=tuple(samples)), pictures
    end = pictures[-1].time
    with closing(decided(detector, _until(open_source(video), end))) as decisions:
        for _ in tracked(decisions, "watching what came before", None):
            pass
    return detector.snapshot(), pictures


def _until(frames: Iterable[Frame], end: float) -> Iterable[Frame]:
    for frame in frames:
        if frame.time > end:
            return
        yield frame


def _write(output: Path, made: list[Explanation], window: Snapshot, pictures: list[Frame], view: str) -> None:
    draft = output.with_name(f".{output.stem}.part{output.suffix}")
    images = [frame.image for frame in pictures]
    score = window.scores[made[0].label]
    try:
        if output.suffix == ".npz":
            _save_arrays(made, window.scores, draft)
        elif view == "feature-maps":
            from whycam.pictures.feature_maps import draw_feature_maps

            draw_feature_maps(window, made[0].order[0], made[0], draft)
        elif len(made) == 1:
            from whycam.pictures.figure import draw_explanation

            draw_explanation(made[0], score, draft, images, contours=view == "contours")
        else:
            from whycam.pictures.comparison import draw_comparison

            draw_comparison(made, score, draft, images, contours=view == "contours")
        draft.replace(output)
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror})") from error
    finally:
        draft.unlink(missing_ok=True)


def _save_arrays(made: list[Explanation], scores: dict[str, float], path: Path) -> None:
    import numpy as np

    first = made[0]
    maps: dict[str, Any] = {"heatmaps" if len(made) == 1 else f"heatmaps.{one.method}": one.heatmaps for one in made}
    np.savez_compressed(
        path,
        **maps,
        relevance=first.relevance,
        times=first.times,
        frames=first.frames,
        scores=np.array(list(scores.values()), dtype=np.float32),
        classes=np.array(list(scores)),
        label=np.array(first.label),
        method=np.array(",".join(one.method for one in made)),
        time=np.array(first.time),
        versus=np.array(first.versus or "none"),
        counter=np.array(first.counter),
        reference=np.array(first.reference),
        explained=np.array(first.explained),
    )


def _list(bundle: Path | None) -> None:
    """Print the methods; with a bundle, which of them it offers."""
    from rich.console import Console
    from rich.table import Table

    from whycam.bundle import Bundle
    from whycam.detect.graphs import explanation_specs
    from whycam.detect.model import remedy
    from whycam.explain import METHODS, TIME_METHODS
    from whycam.explain.methods import Way, offered

    graphs = None if bundle is None else explanation_specs(Bundle.open(bundle).manifest)
    console = Console(highlight=False)
    groups: tuple[tuple[str, str, dict[str, Way]], ...] = (
        ("where, --method", METHOD, dict(METHODS)),
        ("when, --time", TIME, dict(TIME_METHODS)),
    )
    indent = max(len(name) for _, _, ways in groups for name in ways) + 4
    for title, default, ways in groups:
        console.print(f"[bold]{title}[/]")
        able = ways if graphs is None else offered(ways, graphs)
        for name, way in ways.items():
            told = way.question + (" [green](the default)[/]" if name == default else "")
            told += f"\n[dim]{way.paper}; costs {way.cost}[/]"
            if way.caution is not None:
                told += f"\n[yellow]{way.caution}[/]"
            if name not in able:
                told += f"\n[yellow]not with this bundle: {remedy(way, graphs or ())}[/]"
            columns = Table.grid(padding=(0, 0))
            columns.add_column(width=indent)
            columns.add_column()
            columns.add_row(f"  {name}", told)
            console.print(columns)
