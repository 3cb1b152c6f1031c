"""The options that subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BundleOption = Annotated[
    Path, typer.Option("-b", "--bundle", metavar="BUNDLE", help="The model: a bundle that `whycam export` wrote.")
]
PrecisionOption = Annotated[str, typer.Option("--precision", help="Which of the bundle's feature extractors to run.")]
ProviderOption = Annotated[
    list[str] | None,
    typer.Option("--provider", help="cpu, cuda or tensorrt; may be repeated, in order of preference."),
]
MethodOption = Annotated[str, typer.Option("--method", help="One of those that `whycam explain --list` tells of.")]
VersusOption = Annotated[
    str,
    typer.Option(
        "--versus", help="Explain the class rather than this one: `normal`, a class's name, or `none` for no contrast."
    ),
]
