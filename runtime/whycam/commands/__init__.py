"""The command `whycam`: a file per subcommand; other distributions add theirs through an entry-point group."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

import typer
from rich.console import Console

from whycam.errors import WhycamError

GROUP = "whycam.commands"

app = typer.Typer(
    name="whycam",
    help="Video-anomaly detection on the edge, with its reasons.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def main() -> None:
    """Run the command line; bad input gets one line on stderr and exit status 2."""
    from whycam.commands.explain import explain
    from whycam.commands.score import score

    app.command()(score)
    app.command()(explain)
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        app.command(entry.name)(entry.load())
    try:
        app()
    except WhycamError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print("whycam:", str(error), markup=False)
        sys.exit(2)
