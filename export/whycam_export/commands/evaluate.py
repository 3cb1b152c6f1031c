"""`whycam evaluate`: what a bundle is worth, on labelled clips."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from whycam.commands.options import BundleOption
from whycam.errors import InputError

JSON = "explanations.json"
PAGE = "report.html"


def evaluate(
    clips: Annotated[Path, typer.Argument(help="A folder of labelled clips, as for `whycam train`.", metavar="CLIPS")],
    bundle: BundleOption,
    explanations: Annotated[
        bool, typer.Option("--explanations", help="Whether the explanations are true, method by method.")
    ] = False,
    methods: Annotated[
        str | None, typer.Option(help="The methods to evaluate.", metavar="A,B,...", show_default="all of the bundle")
    ] = None,
    versus: Annotated[
        str, typer.Option(help="Contrasts to evaluate each with: normal, none or a class.", metavar="A,B,...")
    ] = "normal",
    reference: Annotated[
        str,
        typer.Option(
            help="References to evaluate each with: none, or usual for what the camera usually shows.",
            metavar="A,B,...",
        ),
    ] = "usual,none",
    model: Annotated[
        Path | None,
        typer.Option(
            help="The Keras model of the bundle: adds the sanity checks and the paper's recipe.", metavar="MODEL.keras"
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="A folder of masks for each clip, one PNG per frame, and ranges.csv.", metavar="DIR"),
    ] = None,
    windows: Annotated[int, typer.Option(help="Windows of a clip to explain, at most.", min=1)] = 2,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder for the figures and the report.")] = Path(
        "evaluation"
    ),
) -> None:
    """Measure on labelled CLIPS whether what the bundle says is true; so far: its explanations.

    Of each method: whether its peaks lie on the anomaly, whether the score falls without what it shows and rises with
    it alone, whether the frames it names are the anomaly's, how far its focus jumps, and what it costs. With --model
    also whether it depends on what the network has learnt, and the paper's recipe beside it. Writes explanations.json
    and report.html.
    """
    if not explanations:
        raise InputError("say what to evaluate: --explanations measures whether the explanations are true")

    from rich.console import Console

    console = Console(stderr=True)
    _check_output(output)
    if model is not None:
        from whycam_export.quiet_tensorflow import import_tensorflow

        import_tensorflow()

    from whycam.commands.progress_bars import Bars
    from whycam_export.evaluation import Options
    from whycam_export.evaluation import evaluate as run
    from whycam_export.evaluation.page import write_page
    from whycam_export.evaluation.table import show

    options = Options(
        methods=None if methods is None else _names("--methods", methods),
        versus=_names("--versus", versus),
        references=_names("--reference", reference),
        windows=windows,
        masks=masks,
        model=model,
    )
    with Bars(console) as bars:
        found = run(clips, bundle, options, bars.show)
    try:
        output.mkdir(parents=True, exist_ok=True)
        found.write(output / JSON)
        write_page(found, output / PAGE)
    except OSError as error:
        raise _unwritable(output, error) from error
    show(found, Console())
    console.print(f"figures  {output / JSON}\nreport   {output / PAGE}", soft_wrap=True, highlight=False)


def _check_output(output: Path) -> None:
    """Raise InputError where `output` is no folder, and none can be made or written there: now, not after the work."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; give a folder with -o")
    there = next(folder for folder in (output, *output.absolute().parents) if folder.is_dir())
    try:
        TemporaryDirectory(prefix=".whycam-", dir=there).cleanup()
    except OSError as error:
        raise _unwritable(output, error) from error


def _unwritable(output: Path, error: OSError) -> InputError:
    return InputError(f"{output}: cannot be written ({error.strerror}); choose another with -o")


def _names(option: str, text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise InputError(f"{option}: names nothing; give names with commas between them")
    return names
