"""The command `whycam`: a file per subcommand; other distributions add theirs through an entry-point group."""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import entry_points
from types import FrameType
from typing import Annotated

import typer

from whycam.errors import ConfigError, WhycamError

GROUP = "whycam.commands"

app = typer.Typer(
    name="whycam",
    help="Video-anomaly detection on the edge, with its reasons.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from whycam import __version__

        typer.echo(f"whycam {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Video-anomaly detection on the edge, with its reasons."""


def main() -> None:
    """Run the command line; bad input gets one line on stderr and exit status 2."""
    from whycam.commands.bench import bench
    from whycam.commands.bundle_store import app as bundle
    from whycam.commands.config import app as config
    from whycam.commands.doctor import doctor
    from whycam.commands.explain import explain
    from whycam.commands.replay import replay
    from whycam.commands.run import run
    from whycam.commands.score import score
    from whycam.commands.watch import watch

    app.command()(run)
    app.command()(score)
    app.command()(explain)
    app.command()(watch)
    app.command()(replay)
    app.command()(bench)
    app.add_typer(bundle, name="bundle")
    app.command()(doctor)
    app.add_typer(config, name="config")
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            command = entry.load()
        except (ImportError, AttributeError) as error:
            # A broken addition must not take the device's own commands with it.
            print(f"whycam: the subcommand '{entry.name}' cannot be loaded ({error})", file=sys.stderr)
            continue
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            app.command(entry.name)(command)
    interrupted = _note_interrupts()
    try:
        app()
    except WhycamError as error:
        tell(error)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our output has gone, as in `whycam score ... | head`: nobody is left to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception:
        # Native code that Ctrl-C falls into (TensorFlow's, above all) may turn it into an error of its own.
        if interrupted:
            print("Aborted.", file=sys.stderr)
            sys.exit(1)
        raise


def tell(error: WhycamError) -> None:
    """What is wrong, on stderr: a line for each thing."""
    problems = error.problems if isinstance(error, ConfigError) else (" ".join(str(error).split()),)
    for problem in problems:
        print("whycam:", problem, file=sys.stderr)


def _note_interrupts() -> list[int]:
    """Let Ctrl-C interrupt as it does, and be noted in the list that is returned."""
    noted: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        signal.default_int_handler(number, frame)

    # Where it is ignored, as a shell starts what runs in the background, it stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    return noted
