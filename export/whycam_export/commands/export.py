"""`whycam export`: a Keras model as a bundle of ONNX graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whycam_export.errors import ModelError

if TYPE_CHECKING:
    from rich.console import Console

    from whycam.bundle import Manifest
    from whycam_export.convert import ExportOptions


def export(
    model: Annotated[Path, typer.Argument(help="The trained model: .keras or .h5.", metavar="MODEL")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The bundle to write, NAME.whycam.")],
    classes: Annotated[
        str | None,
        typer.Option(help="Classes in the order of the outputs.", metavar="A,B,...", show_default="as trained"),
    ] = None,
    normal: Annotated[str | None, typer.Option(help="The class that is no anomaly.", show_default="as trained")] = None,
    frame_interval: Annotated[
        float | None, typer.Option(help="Seconds between two frames of a window.", show_default="as trained")
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            help="What becomes of frames before the network, as in keras.applications; none gives it RGB 0 to 255.",
            metavar="auto|caffe|torch|tf|none",
            show_default="as trained, else auto",
        ),
    ] = None,
    cam_layer: Annotated[
        str | None,
        typer.Option(
            help="Layers whose maps explain; finer ones point better. `auto`: the one that explains --clips best.",
            metavar="NAME[,NAME...]|auto",
            show_default="the last with maps of 1/8 of the frame",
        ),
    ] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Labelled clips to choose the layer by, as `whycam evaluate` takes them.")
    ] = None,
    explain: Annotated[
        str,
        typer.Option(
            help="Graphs to add: for every method of explanation, for class activation maps, or none.",
            metavar="all|cams|none",
        ),
    ] = "all",
    frames: Annotated[
        int | None, typer.Option(help="Frames of a window, where the model leaves that open.", min=1)
    ] = None,
    sample: Annotated[
        Path | None, typer.Option(help="A video on which, too, the bundle is compared with Keras.")
    ] = None,
    version: Annotated[str, typer.Option("--model-version", help="The version that the bundle carries.")] = "1",
) -> None:
    """Export a trained Keras model as a bundle that a device runs and explains.

    MODEL takes frames through TimeDistributed layers, GRU or LSTM layers and dense layers to a softmax, a single
    sigmoid or logits. The bundle's graphs are compared with Keras before anything is written.
    """
    from rich.console import Console

    from whycam_export.commands.stages import Stages
    from whycam_export.quiet_tensorflow import import_tensorflow

    console = Console(stderr=True, highlight=False)
    import_tensorflow()
    from whycam_export.convert import ExportOptions, export_bundle
    from whycam_export.convert.graphs import check_explain

    options = ExportOptions(
        classes=tuple(name.strip() for name in classes.split(",")) if classes is not None else None,
        normal=normal,
        frame_interval=frame_interval,
        preprocess=preprocess,
        cam_layers=tuple(name.strip() for name in cam_layer.split(",")) if cam_layer is not None else (),
        explain=check_explain(explain),
        frames=frames,
        sample=sample,
        version=version,
    )
    if options.cam_layers == ("auto",):
        if clips is None:
            raise ModelError("--cam-layer auto: say by which clips to choose, --clips FOLDER")
        options = replace(options, cam_layers=(_best_layer(console, model, clips, options),))
    elif clips is not None:
        raise ModelError(f"--clips {clips}: is for --cam-layer auto alone")
    with Stages(console) as stages:
        manifest = export_bundle(model, output, options, stages.begin)
    _show(console, output, manifest)


def _best_layer(console: Console, model: Path, clips: Path, options: ExportOptions) -> str:
    from rich.table import Table

    from whycam_export.commands.stages import Stages
    from whycam_export.evaluation.figures import WHERE
    from whycam_export.evaluation.layers import try_layers

    with Stages(console) as stages:
        tried = try_layers(model, clips, options, stage=stages.begin)
    table = Table("layer", WHERE[tried[0].figure].title, "windows or frames", title_justify="left")
    for each in tried:
        table.add_row(each.layer, f"{each.value.value:.3f}", str(each.value.n))
    console.print(table)
    return tried[0].layer


def _show(console: Console, output: Path, manifest: Manifest) -> None:
    from rich.table import Table

    from whycam_export.convert.parity import LIMITS, tolerated

    console.print(f"\n[bold]{output}[/]  {', '.join(manifest.classes)}; normal is {manifest.normal}")
    window = manifest.window
    maps = ", ".join(f"{cam.name} ({cam.channels} x {cam.height} x {cam.width})" for cam in manifest.cams)
    console.print(f"window of {window.frames} frames, one each {window.frame_interval:g} s; maps of {maps}")
    if manifest.provenance["cam_layer"]:
        console.print(f"[yellow]{manifest.provenance['cam_layer']}: {manifest.cams[0].name} is taken[/]")
    if not manifest.step.available:
        console.print(f"[yellow]no step graph: {manifest.step.reason}; the runtime re-runs the window[/]")

    table = Table("against Keras", "largest error", "tolerated", title_justify="left")
    for name in LIMITS:
        error = getattr(manifest.parity, name)
        table.add_row(name, "-" if error is None else f"{error:.1e}", f"{tolerated(manifest.parity, name):.0e}")
    console.print(table)
    files = Table("file", "MB")
    for name, entry in manifest.files.items():
        files.add_row(name, f"{entry.bytes / 1e6:.1f}")
    files.add_row("[bold]in all", f"[bold]{sum(entry.bytes for entry in manifest.files.values()) / 1e6:.1f}")
    console.print(files)
    console.print("next:", style="bold")
    console.print(f"  whycam score VIDEO -b {output} -o scored", soft_wrap=True)
    console.print(f"  whycam explain VIDEO -b {output} --at SECONDS -o why.png", soft_wrap=True)
