"""Which layer of a model explains best: `whycam export --cam-layer auto`."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from whycam.default_methods import METHOD
from whycam.errors import InputError
from whycam_export.convert.chain import cut, load_model
from whycam_export.convert.export import ExportOptions, export_bundle
from whycam_export.convert.extractor import stage_layers
from whycam_export.errors import ModelError
from whycam_export.evaluation.evaluate import Options, evaluate
from whycam_export.evaluation.figures import Figure
from whycam_export.evaluation.gather import Progress
from whycam_export.evaluation.result import Row


@dataclass(frozen=True)
class Tried:
    """A layer, and the figure that it was judged by."""

    layer: str
    figure: str
    """`pointing`, where masks are there; else `difference`, insertion minus deletion."""
    value: Figure


def try_layers(
    model: Path,
    clips: Path,
    options: ExportOptions,
    masks: Path | None = None,
    stage: Callable[[str], None] = lambda text: None,
    progress: Progress = lambda text, done, total: None,
) -> list[Tried]:
    """The layers of the Keras model at `model`, the one that explains `clips` best first.

    Of each size of maps the last layer that all ways to the features pass is tried with the default method, on at most
    two windows of a clip, seen against what is usual, or against nothing where no clip is long enough for it: by how
    often it points into the masks, or, without masks, by insertion minus deletion.

    Raises WhycamError where the model or the clips are wrong, and where there is nothing to choose from.
    """
    names = stage_layers(cut(load_model(model), options.frames))
    if not names:
        raise ModelError("--cam-layer auto: the per-frame network has no layer to choose; say --cam-layer NAME")
    tried = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            stage(f"try {name}")
            bundle = Path(folder) / f"{name}.whycam"
            export_bundle(model, bundle, dataclasses.replace(options, cam_layers=(name,), explain="cams"))
            row = _measured(clips, bundle, masks, progress)
            figure = "pointing" if "pointing" in row.figures else "difference"
            tried.append(Tried(name, figure, row.figures[figure]))
    return sorted(tried, key=lambda each: -each.value.value)


def _measured(clips: Path, bundle: Path, masks: Path | None, progress: Progress) -> Row:
    """The default method's row, against what is usual where any window has that to be seen against."""
    asked = Options(methods=(METHOD,), references=("usual",), when=False, cost=False, masks=masks)
    for options in (asked, dataclasses.replace(asked, references=("none",))):
        found = evaluate(clips, bundle, options, progress)
        for row in found.where:
            if row.kind == "method":
                return row
    raise InputError(f"{clips}: no window can be explained against the normal class; give clips of an anomaly")
