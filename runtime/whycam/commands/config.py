"""`whycam config`: write a configuration, and try it before the service does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def config() -> None:
    """Write a configuration, and try it before the service does."""


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The configuration.", show_default=False)],
) -> None:
    """Say what a configuration asks for, and all that is wrong with it: keys, models, classes, secrets."""
    from whycam.config.file import load_config
    from whycam.service.check import check_config

    for line in check_config(path, load_config(path)):
        typer.echo(line)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a configuration, for editors that complete and check as one types."""
    from whycam.config.models import Config

    typer.echo(json.dumps(Config.model_json_schema(), indent=2))


@app.command()
def example() -> None:
    """Print a configuration with all its keys, what each means, and the defaults."""
    from whycam.config.example import example as text

    typer.echo(text(), nl=False)
