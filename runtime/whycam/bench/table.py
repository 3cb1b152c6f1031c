"""A report as one table: a column for each variant, a row for each figure."""

from __future__ import annotations

from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from whycam.bench.cameras import MARGIN, MOST, Capacity
from whycam.bench.report import Measured, Report
from whycam.bench.timing import Spread

_MIB = 1024 * 1024
_NONE = "–"
_SPREAD_COLUMNS = 4
"""With more columns there is no room for the spread."""

Cell = Callable[[Measured], str]


def show(report: Report, console: Console) -> None:
    """Print the report's table on `console`, and what it is of."""
    console.print(_table(report))
    console.print(_context(report), style="dim", markup=False)
    for one in report.left_out:
        console.print(f"left out: {one.variant}: {one.reason}", style="yellow", markup=False)


def _table(report: Report) -> Table:
    manifest = report.manifest
    title = (
        f"{escape(manifest.name)} {escape(manifest.version)}: windows of {manifest.window.frames} frames, "
        f"{manifest.input.width}x{manifest.input.height}"
    )
    table = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for one in report.measured:
        table.add_column(f"{one.variant.precision}\n{one.variant.provider}", justify="right", no_wrap=True)
    for section in _sections(report):
        for name, cell in section:
            cells = [cell(one) for one in report.measured]
            if any(text != _NONE for text in cells):
                table.add_row(name, *cells)
        table.add_section()
    return table


def _sections(report: Report) -> list[list[tuple[str, Cell]]]:
    told = _told(spread=len(report.measured) <= _SPREAD_COLUMNS)
    explained = "" if report.question is None else report.question.method
    rate = f"at {report.fps:g} fps"
    return [
        [
            ("features of a frame", lambda one: told(one.stages.features)),
            ("  in a batch", lambda one: told(one.stages.features_in_batch)),
            ("step of the RNN", lambda one: told(one.stages.step)),
            ("RNN over the window", lambda one: told(one.stages.head)),
            ("decision", lambda one: told(one.stages.decision)),
            ("  ONNX Runtime alone", lambda one: told(one.stages.bare)),
            ("  its share", lambda one: f"{one.stages.share_of_decision:.0%}"),
            ("from the video file", lambda one: told(one.stages.from_file)),
            ("  ONNX Runtime alone", lambda one: told(one.stages.bare_in_batch or one.stages.bare)),
            ("  its share", lambda one: f"{one.stages.share_of_file:.0%}"),
        ],
        [
            (f"{explained}, window", lambda one: told(one.stages.explanation)),
            ("  newest frame", lambda one: told(one.stages.explanation_newest)),
            ("grad-cam, window", lambda one: told(one.stages.grad_cam)),
        ],
        [
            (f"[bold]cameras {rate}[/]", lambda one: f"[bold]{held(one.cameras)}[/]"),
            ("  every decision explained", lambda one: f"{held(one.cameras_explained)}"),
            ("a decision, one camera", lambda one: seconds(one.cameras.loads[0].seconds_per_camera)),
            ("  with the most held", lambda one: _fullest(one.cameras)),
        ],
        [
            ("cold start: first frame", lambda one: seconds(one.cold_start.first_frame.median)),
            ("  first decision", lambda one: seconds(one.cold_start.first_decision.median)),
            ("resident memory", lambda one: _mebibytes(one.cold_start.memory.resident)),
            ("  at most", lambda one: _mebibytes(one.cold_start.memory.peak)),
        ],
    ]


def _context(report: Report) -> str:
    machine, frames = report.machine, report.frames
    width, height = report.clip.size
    mode = "" if machine.power_mode is None else f", power mode {machine.power_mode}"
    governor = "" if machine.governor is None else f", governor {machine.governor}"
    return (
        f"A frame of {width}x{height}: decoded in {seconds(frames.decode.median)}, resized in "
        f"{seconds(frames.resize.median)}, looked at by the motion gate in {seconds(frames.motion.median)}.\n"
        f"Medians of {report.rounds} rounds. Cameras are held where {MARGIN:.0%} of the time is left; all "
        f"{report.clip.fps:g} frames of a second of each are decoded.\n"
        f"{machine.processor}, {machine.usable_cores} cores{mode}{governor}; ONNX Runtime {machine.onnxruntime}, "
        f"whycam {report.whycam}."
    )


def held(capacity: Capacity | None) -> str:
    """How many cameras are held."""
    if capacity is None:
        return _NONE
    return f"{capacity.cameras} or more" if capacity.cameras == MOST else str(capacity.cameras)


def seconds(value: float) -> str:
    """Seconds, with the unit that suits them."""
    if value >= 0.9995:
        return f"{value:.2f} s"
    return f"{value * 1e3:.{_digits(value * 1e3)}f} ms" if value >= 1e-3 else f"{value * 1e6:.0f} µs"


def _digits(number: float) -> int:
    return 0 if number >= 99.5 else 1 if number >= 9.95 else 2


def _told(*, spread: bool) -> Callable[[Spread | None], str]:
    def told(found: Spread | None) -> str:
        if found is None:
            return _NONE
        if not spread:
            return seconds(found.median)
        number, unit = seconds(found.median).split()
        scale = found.median / float(number)
        least, most = (f"{value / scale:.{len(number.partition('.')[2])}f}" for value in (found.least, found.most))
        return f"{number} {unit} [dim]{least:>5}–{most:<5}[/]"

    return told


def _fullest(capacity: Capacity) -> str:
    load = max((load for load in capacity.loads if load.holds), key=lambda load: load.cameras, default=None)
    return _NONE if load is None else seconds(load.seconds_per_camera)


def _mebibytes(size: int | None) -> str:
    return _NONE if size is None else f"{size / _MIB:.0f} MiB"
