"""`whycam replay`: what a configuration would have raised on a recording."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whycam.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from whycam.alerts.replay import Span
    from whycam.config.models import Camera, Config


def replay(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video file, or images:FOLDER.")],
    config: Annotated[
        Path, typer.Option("-c", "--config", metavar="FILE", help="The configuration; see `whycam config example`.")
    ],
    camera: Annotated[
        str | None, typer.Option("--camera", help="Whose settings to take, where there are several cameras.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="PNG", help="Draw scores and episodes there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON line per episode, in place of the table.")] = False,
) -> None:
    """Show the episodes that a camera's settings would have raised on a VIDEO, as if the camera had seen it.

    Model, thresholds, zones, motion gate and rules are those of the configuration; what was set over MQTT is not asked.
    """
    from whycam.alerts.replay import replay as run
    from whycam.bundle import Bundle
    from whycam.commands.progress import tracked
    from whycam.config.file import load_config
    from whycam.detect import Model
    from whycam.sources import open_source
    from whycam.sources.file import announcement
    from whycam.sources.uri import is_live

    if is_live(video):
        raise InputError(f"{video}: a camera's stream has no end; record it, and replay that")
    if output is not None and not output.parent.is_dir():
        raise InputError(f"--output {output}: there is no folder {output.parent}")
    chosen = _chosen(load_config(config), camera, config)
    model = Model(Bundle.open(chosen.bundle), chosen.precision, chosen.providers)
    frames = open_source(video)
    made = run(model, chosen, tracked(frames, "replaying", announcement(video).frames))
    spans = made.spans()
    if as_json:
        for span in spans:
            print(json.dumps(span.as_dict()))
    else:
        from rich.console import Console

        # A pipe has room for whole lines.
        Console(width=None if sys.stdout.isatty() else 110).print(
            _table(spans) if spans else "Nothing would have been raised.", highlight=False
        )
    if made.suppressed:
        print(f"whycam: {made.suppressed} more held back by cool_down_seconds", file=sys.stderr)
    if output is not None:
        from whycam.pictures.episodes import draw_episodes

        draw_episodes(made, model.manifest, f"{Path(video).name}: what {chosen.name} would have raised", output)
        print(f"whycam: wrote {output}", file=sys.stderr)


def _chosen(config: Config, name: str | None, path: Path) -> Camera:
    names = [camera.name for camera in config.cameras]
    if name is None and len(names) == 1:
        return config.cameras[0]
    if name is None:
        raise InputError(f"{path}: has several cameras; name one with --camera: {', '.join(names)}")
    if name not in names:
        raise InputError(f"--camera {name}: {path} has {', '.join(names)}")
    return config.cameras[names.index(name)]


def _table(spans: list[Span]) -> Table:
    from rich.table import Table

    table = Table()
    for heading in ("class", "onset s", "raised s", "peak", "at s", "ended s", "cleared s", "lasted s", "ended by"):
        table.add_column(heading, justify="left" if heading in ("class", "ended by") else "right")
    for span in spans:
        table.add_row(
            span.label,
            f"{span.onset:.1f}",
            f"{span.raised:.1f}",
            f"{span.peak:.3f}",
            f"{span.peak_time:.1f}",
            *("–" if value is None else f"{value:.1f}" for value in (span.ended, span.cleared, span.seconds)),
            span.reason or "the recording's end",
        )
    return table
