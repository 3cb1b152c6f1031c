"""`whycam train`: a model from a folder of clips."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Pooling(str, Enum):
    """How a frame's maps become its features."""

    FLATTEN = "flatten"
    AVERAGE = "average"


class FineTune(str, Enum):
    """How much of the backbone is trained."""

    NONE = "none"
    BLOCK5 = "block5"
    ALL = "all"


def train(
    clips: Annotated[
        Path, typer.Argument(help="A folder of clips per class, or with a manifest.csv.", metavar="CLIPS")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The model to write, NAME.keras.")],
    size: Annotated[str, typer.Option(help="Frame size in pixels: a side, or HEIGHTxWIDTH.")] = "112",
    frames: Annotated[int, typer.Option(help="Frames of a window.")] = 20,
    frame_interval: Annotated[float, typer.Option(help="Seconds between two frames of a window.")] = 0.1,
    pooling: Annotated[Pooling, typer.Option(help="How a frame's maps become its features.")] = Pooling.FLATTEN,
    units: Annotated[int, typer.Option(help="Units of the GRU.")] = 1024,
    dense: Annotated[str, typer.Option(help="Units of the dense layers; '' for none.")] = "1024,512,128",
    dropout: Annotated[float, typer.Option(help="Dropout after each dense layer.")] = 0.5,
    l2: Annotated[float, typer.Option(help="L2 penalty on the dense layers' weights.")] = 0.01,
    attention: Annotated[
        bool,
        typer.Option("--attention", help="Let attention pool the places of a frame, and the frames."),
    ] = False,
    width: Annotated[float, typer.Option(help="Factor on VGG19's channels; below 1 for small machines.")] = 1.0,
    backbone_weights: Annotated[
        str, typer.Option(help="imagenet, none, or a file: Keras .h5 or 8-bit .npz.", metavar="imagenet|none|FILE")
    ] = "imagenet",
    fine_tune: Annotated[FineTune, typer.Option(help="What to train of the backbone, after the head.")] = FineTune.NONE,
    augment: Annotated[int, typer.Option(help="Brighter, mirrored, zoomed copies of each training clip.")] = 2,
    validation: Annotated[
        float, typer.Option(help="Share of clips to validate on, where no manifest says which.")
    ] = 0.25,
    classes: Annotated[
        str | None, typer.Option(help="Classes in the model's order.", metavar="A,B,...", show_default="by name")
    ] = None,
    normal: Annotated[
        str | None, typer.Option(help="The class that is no anomaly.", show_default="the one so named")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Epochs at most.")] = 200,
    patience: Annotated[
        int,
        typer.Option(
            help="Epochs without progress after which the learning rate drops; at the third time training stops."
        ),
    ] = 10,
    batch: Annotated[int, typer.Option(help="Windows in a batch.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Of SGD; a tenth of it while fine-tuning.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Draws the split, first weights, order and dropout.")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps computed features.", show_default="~/.cache/whycam/features")
    ] = None,
) -> None:
    """Train the paper's network, VGG19 + GRU, on a folder of clips.

    CLIPS holds a folder per class, and may hold a manifest.csv with path,label,source[,split] instead of naming classes
    by folder. Without a split, validation takes whole sources, so that no scene is on both sides. Clips are sampled by
    time stamp; where a clip is too short for a window, its last frame is held.

    What the frozen backbone computes is kept on disk and not computed again. Beside the model: NAME.json for
    `whycam export`, NAME.metrics.json, NAME.history.csv and .png, NAME.confusion.png.
    """
    from rich.console import Console

    from whycam.clips import read_clips
    from whycam_export.errors import TrainingError
    from whycam_export.quiet_tensorflow import import_tensorflow
    from whycam_export.training.outputs import check_output

    # The commonest mistakes are answered at once; TensorFlow takes seconds to load.
    check_output(output)
    if attention and pooling is not Pooling.FLATTEN:
        raise TrainingError(f"--pooling {pooling.value}: with --attention, attention pools; drop one of the two")
    read_clips(clips)
    import_tensorflow()

    from whycam_export.training.fit import Recipe
    from whycam_export.training.network import Architecture
    from whycam_export.training.options import Options
    from whycam_export.training.results import show
    from whycam_export.training.run import train as run

    options = Options(
        clips=clips,
        output=output,
        architecture=Architecture(
            size=_size(size),
            frames=frames,
            pooling=pooling.value,
            units=units,
            dense=_dense(dense),
            dropout=dropout,
            l2=l2,
            width=width,
            attention=attention,
        ),
        frame_interval=frame_interval,
        backbone_weights=backbone_weights,
        fine_tune=fine_tune.value,
        augment=augment,
        validation=validation,
        classes=None if classes is None else tuple(name.strip() for name in classes.split(",")),
        normal=normal,
        recipe=Recipe(epochs=epochs, batch=batch, learning_rate=learning_rate, patience=patience),
        seed=seed,
        cache=cache,
    )
    console = Console(stderr=True)
    show(run(options, console), console)


def _size(text: str) -> tuple[int, int]:
    height, separator, width = text.lower().partition("x")
    try:
        return int(height), int(width if separator else height)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is neither a side nor HEIGHTxWIDTH", param_hint="--size") from None


def _dense(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise typer.BadParameter(f"'{text}' is not a list of numbers", param_hint="--dense") from None
