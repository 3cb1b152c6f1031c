"""The page that shows a demo: one HTML file with relative links, which opens from disk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from whycam.pictures.palette import class_colours
from whycam_export.demo.live import ALLOWED_SECONDS
from whycam_export.demo.measure import ACCURACY_REQUIRED, POINTING_REQUIRED
from whycam_export.demo.report import ClipReport, Report

# The chart's plot area, in units of its own view box.
LEFT, TOP, RIGHT, BOTTOM = 34.0, 10.0, 746.0, 196.0


@dataclass(frozen=True)
class Line:
    """A class's scores as an SVG path."""

    name: str
    colour: str
    path: str


@dataclass(frozen=True)
class Chart:
    """A clip's scores over time, in the chart's view box."""

    lines: tuple[Line, ...]
    seconds: float
    ticks: tuple[tuple[float, str], ...]
    truth: tuple[float, float] | None
    """Left edge and width of the shaded range; None where nothing happens."""
    alert: float | None


def chart(clip: ClipReport, report: Report) -> Chart:
    """The chart of `clip`."""
    watched = clip.watched
    seconds = max(float(watched.truth.t1), float(watched.truth.times[-1]))

    def across(time: float) -> float:
        return LEFT + (RIGHT - LEFT) * time / seconds

    colours = class_colours(report.manifest.classes, report.manifest.normal)
    lines = []
    for name in report.manifest.classes:
        points = [
            f"{across(decision.time):.1f},{BOTTOM - (BOTTOM - TOP) * decision.scores[name]:.1f}"
            for decision in watched.decisions
            if not math.isnan(decision.scores[name])
        ]
        lines.append(Line(name, colours[name], "M" + " L".join(points) if points else ""))
    ticks = tuple((across(second), f"{second}") for second in range(int(seconds) + 1))
    truth = watched.truth
    shaded = (across(truth.t0), across(truth.t1) - across(truth.t0)) if truth.t1 > truth.t0 else None
    return Chart(tuple(lines), seconds, ticks, shaded, None if clip.alert_time is None else across(clip.alert_time))


def write_page(report: Report, folder: Path) -> Path:
    """Write `index.html` into the demo's folder, and return its path."""
    environment = Environment(
        loader=PackageLoader("whycam_export.demo", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("index.html").render(
        report=report,
        charts=[chart(clip, report) for clip in report.clips],
        colours=class_colours(report.manifest.classes, report.manifest.normal),
        accuracy_required=ACCURACY_REQUIRED,
        pointing_required=POINTING_REQUIRED,
        shortfalls=report.shortfalls(),
        allowed_seconds=ALLOWED_SECONDS,
        box=(LEFT, TOP, RIGHT, BOTTOM),
        version=version("whycam-export"),
        folder=folder,
    )
    path = folder / "index.html"
    draft = folder / "index.html.part"
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
    return path
