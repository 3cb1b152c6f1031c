"""A report as one picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from whycam.bench.cameras import MARGIN
from whycam.bench.report import Report
from whycam.bench.table import held, seconds
from whycam.bench.timing import Spread
from whycam.bench.variants import Variant
from whycam.libraries import MATPLOTLIB, needs
from whycam.pictures.palette import ALERT, INK, QUIET, SERIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GRID = "#e4e7ea"
_BAND = 0.62
"""The part of a row over which its dots are spread."""
_MOST_NUMBERED = 3
"""With more variants there is no room for numbers."""
_MIB = 1024 * 1024


def draw_report(report: Report, path: Path) -> None:
    """Draw `report` into the PNG file `path`: stages, cost per camera, cold start and memory.

    Raises MissingDependencyError without Matplotlib.
    """
    with needs(MATPLOTLIB):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

    colours = {one.variant: SERIES[index % len(SERIES)] for index, one in enumerate(report.measured)}
    room = ConstrainedLayoutEngine(rect=(0.005, 0.01, 0.99, 0.91), wspace=0.06, hspace=0.08)
    figure = Figure(figsize=(13, 7.6), dpi=120, layout=room)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 3, width_ratios=(1.9, 1, 1), height_ratios=(1.9, 1))
    _draw_stages(figure.add_subplot(grid[:, 0]), report, colours)
    _draw_cameras(figure.add_subplot(grid[0, 1:]), report, colours)
    _draw_bars(
        figure.add_subplot(grid[1, 1]),
        "cold start to the first decision (s)",
        {one.variant: one.cold_start.first_decision.median for one in report.measured},
        colours,
        "{:.2f}",
    )
    _draw_bars(
        figure.add_subplot(grid[1, 2]),
        "resident memory (MiB)",
        {
            one.variant: one.cold_start.memory.resident / _MIB
            for one in report.measured
            if one.cold_start.memory.resident is not None
        },
        colours,
        "{:.0f}",
    )
    machine = report.machine
    figure.text(0.012, 0.955, f"{report.manifest.name} on {machine.processor}", fontsize=14, weight="bold", color=INK)
    mode = "" if machine.power_mode is None else f", power mode {machine.power_mode}"
    size, length = report.manifest.input, report.manifest.window.frames
    about = (
        f"windows of {length} frames of {size.width}x{size.height}; {machine.usable_cores} cores{mode}, "
        f"ONNX Runtime {machine.onnxruntime}; medians of {report.rounds} rounds"
    )
    figure.text(0.012, 0.927, about, fontsize=9, color=QUIET)
    figure.savefig(path, format="png", facecolor="white")


def _draw_stages(axes: Axes, report: Report, colours: Mapping[Variant, str]) -> None:
    rows = list(_rows(report))
    for place, (_, spreads) in enumerate(rows):
        for index, (variant, spread) in enumerate(spreads.items()):
            height = place + _BAND * ((index + 0.5) / len(spreads) - 0.5)
            colour = QUIET if variant is None else colours[variant]
            axes.plot([spread.least * 1e3, spread.most * 1e3], [height] * 2, color=colour, lw=1.4, alpha=0.55)
            axes.plot(spread.median * 1e3, height, "o", color=colour, ms=6)
            if len(colours) <= _MOST_NUMBERED:
                at = spread.most * 1e3, height
                number = axes.annotate(seconds(spread.median), at, (5, 0), textcoords="offset points", va="center")
                number.set(fontsize=7, color=INK, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})
    interval = 1e3 / report.fps
    axes.axvline(interval, color=ALERT, lw=1, ls=(0, (5, 4)))
    axes.text(interval * 0.95, -0.6, f"a frame's time at {report.fps:g} fps", fontsize=7.5, color=ALERT, ha="right")
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(_plainly)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8.5)
    axes.set_ylim(len(rows) - 0.4, -0.9)
    axes.set_title("what each stage takes (ms)", loc="left", fontsize=10, color=INK)
    axes.grid(axis="x", color=_GRID, lw=0.8)
    _quieten(axes)


def _rows(report: Report) -> Iterator[tuple[str, dict[Variant | None, Spread]]]:
    """Each stage's name, and its times by variant; by None where it is the same for all."""
    frames = report.frames
    for name, spread in (("decode", frames.decode), ("resize", frames.resize), ("motion gate", frames.motion)):
        yield name, {None: spread}
    method = "" if report.question is None else report.question.method
    for name, stage in (
        ("features", "features"),
        ("features, in a batch", "features_in_batch"),
        ("step of the RNN", "step"),
        ("RNN over the window", "head"),
        ("decision", "decision"),
        ("decision, from the file", "from_file"),
        ("ONNX Runtime alone", "bare"),
        ("ONNX Runtime alone, in a batch", "bare_in_batch"),
        (f"{method}, window", "explanation"),
        (f"{method}, newest frame", "explanation_newest"),
        ("grad-cam, window", "grad_cam"),
    ):
        spreads = {one.variant: getattr(one.stages, stage) for one in report.measured}
        there: dict[Variant | None, Spread] = {key: value for key, value in spreads.items() if value is not None}
        if there:
            yield name, there


def _draw_cameras(axes: Axes, report: Report, colours: Mapping[Variant, str]) -> None:
    most, least_cost, most_cost = 1, float("inf"), 0.0
    for one in report.measured:
        explained = one.cameras_explained
        told = f"{one.variant}: {held(one.cameras)}" + ("" if explained is None else f", explained {held(explained)}")
        for capacity, style, label in ((one.cameras, "-", told), (explained, ":", None)):
            if capacity is None:
                continue
            counts = [load.cameras for load in capacity.loads]
            costs = [load.seconds_per_camera * 1e3 for load in capacity.loads]
            axes.plot(counts, costs, color=colours[one.variant], ls=style, lw=1.8, marker="o", ms=4.5, label=label)
            most, least_cost, most_cost = max(most, *counts), min(least_cost, *costs), max(most_cost, *costs)
    ends = [0.8, max(most, 2) * 1.25]
    limit = [(1 - MARGIN) * 1e3 / report.fps / count for count in ends]
    axes.plot(ends, limit, color=ALERT, lw=1, ls=(0, (5, 4)))
    axes.fill_between(ends, limit, [1e9] * 2, color=ALERT, alpha=0.06, lw=0)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlim(*ends)
    axes.set_ylim(min(least_cost, *limit) / 1.5, max(most_cost, *limit) * 1.5)
    axes.xaxis.set_major_formatter(_plainly)
    axes.yaxis.set_major_formatter(_plainly)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("cameras; dotted: every decision explained", fontsize=8.5)
    title = f"a decision of one camera among so many (ms); shaded: not held at {report.fps:g} fps"
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.grid(color=_GRID, lw=0.8)
    axes.legend(fontsize=8, frameon=False, title="cameras held", title_fontsize=8, alignment="left", loc="upper right")
    _quieten(axes)


def _draw_bars(
    axes: Axes, title: str, values: Mapping[Variant, float], colours: Mapping[Variant, str], form: str
) -> None:
    bars = axes.barh([str(variant) for variant in values], list(values.values()), height=0.6)
    for bar, variant in zip(bars, values, strict=True):
        bar.set_color(colours[variant])
    axes.bar_label(bars, fmt=form.format, fontsize=8, padding=3, color=INK)
    axes.set_xlim(0, max(values.values(), default=1) * 1.25)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.tick_params(axis="y", labelsize=8.5, length=0)
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    _quieten(axes)
    axes.spines["bottom"].set_visible(False)


def _plainly(number: float, _: float) -> str:
    return f"{number:g}"


def _quieten(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=8)
