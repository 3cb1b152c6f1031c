"""The report's pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whycam.pictures.palette import ALERT, INK, QUIET, class_colours
from whycam_calibration.report import Picture, picture_of
from whycam_calibration.thresholds.ranking import Ranking, by_clips, by_windows
from whycam_calibration.thresholds.run import Calibration
from whycam_calibration.thresholds.temperature import Temperature

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_COLUMNS = 2000
"""A timeline's decisions are drawn as the highest of each of so many stretches: no peak is lost."""
_GRID = "#e4e7ea"


def rates_picture(made: Calibration) -> Picture:
    """False alarms and detections by threshold, a panel for each class."""
    labels = list(made.tradeoffs)
    figure = _figure(12, 1 + 2.9 * len(labels))
    panels = figure.subplots(len(labels), 1, squeeze=False)[:, 0]
    colours = class_colours(made.bundle.manifest.classes, made.bundle.manifest.normal)
    for label, axes, point in zip(labels, panels, made.points, strict=True):
        steps = made.tradeoffs[label]
        odds = [_odds(step.threshold) for step in steps]
        low, high = zip(*(step.rate.interval for step in steps), strict=True) if steps else ((), ())
        bottom = 1e-3 if not high else min(high) / 30
        axes.fill_between(odds, np.maximum(low, bottom), high, color=colours[label], alpha=0.18, lw=0)
        seen = [(where, step.rate.per_hour) for where, step in zip(odds, steps, strict=True) if step.rate.alarms]
        axes.plot(*zip(*seen, strict=True) if seen else ((), ()), color=colours[label], lw=2, marker="o", ms=3.5)
        axes.axhline(made.options.target / len(labels), color=ALERT, lw=1, ls=(0, (5, 4)))
        axes.axvline(_odds(point.chosen.rules.raise_at), color=INK, lw=1.4)
        axes.set_yscale("log")
        axes.set_ylabel(f"{label}\nfalse alarms per hour", color=INK)
        _threshold_axis(axes)
        if any(step.detected is not None for step in steps):
            beside = axes.twinx()
            beside.plot(odds, [step.detected for step in steps], color=QUIET, lw=2, ls=":")
            beside.set_ylim(-0.02, 1.02)
            beside.set_ylabel("events detected", color=QUIET)
            beside.spines["top"].set_visible(False)
    panels[-1].set_xlabel("threshold")
    return picture_of(
        figure,
        "False alarms per hour by threshold, at the minimum duration chosen, with the 95 % interval (shaded; where "
        "no line is, there were none). Dashed, what this class may have of the target; upright, the threshold "
        "chosen; dotted, the part of the class's events that is detected.",
    )


def timeline_picture(made: Calibration) -> Picture:
    """The scores of the normal footage, and what would have alarmed."""
    manifest = made.bundle.manifest
    figure = _figure(12, 1 + 2.0 * len(made.points))
    panels = figure.subplots(len(made.points), 1, sharex=True, squeeze=False)[:, 0]
    colours = class_colours(manifest.classes, manifest.normal)
    ordered = [*made.parts.choose, *made.parts.check]
    lengths = [len(one.times) * one.interval for one in ordered]
    *starts, end = np.concatenate([[0.0], np.cumsum(lengths)]).tolist()
    unit, name = (3600.0, "hours") if end > 7200 else (60.0, "minutes") if end > 180 else (1.0, "seconds")
    scores = [one.scores(made.temperature.value) for one in ordered]
    boundary = [*starts, end][len(made.parts.choose)] / unit
    for point, axes in zip(made.points, panels, strict=True):
        column = manifest.classes.index(point.label)
        where = np.concatenate(
            [start + one.interval * np.arange(len(one.times)) for start, one in zip(starts, ordered, strict=True)]
        )
        drawn_at, drawn = _thinned(where / unit, np.concatenate([found[:, column] for found in scores]))
        axes.plot(drawn_at, drawn, color=colours[point.label], lw=1.2, zorder=3)
        axes.axhline(point.chosen.rules.raise_at, color=colours[point.label], lw=1, ls=(0, (5, 4)))
        axes.axvspan(boundary, end / unit, color=QUIET, alpha=0.13, lw=0, zorder=0)
        for start, one in zip(starts, ordered, strict=True):
            for alarm in made.alarms(one):
                if alarm.label == point.label:
                    at = start + min(max(0.0, alarm.raised - one.times[0]), len(one.times) * one.interval)
                    axes.axvline(at / unit, color=ALERT, lw=1.6, zorder=4)
        axes.set_ylim(-0.02, 1.04)
        axes.set_ylabel(point.label, color=INK)
        _plain(axes)
    panels[0].set_xlim(0, max(end / unit, 1e-9))
    panels[-1].set_xlabel(f"{name} of normal footage")
    return picture_of(
        figure,
        f"Scores of all {len(ordered)} pieces of normal footage one after the other, the highest of each stretch. "
        "Dashed, the threshold; red, what would have alarmed; grey, what was held back to check.",
    )


def reliability_picture(found: Temperature) -> Picture:
    """How often windows are right, by how sure their scores are."""
    figure = _figure(9, 4.4)
    for axes, measured, title in zip(
        figure.subplots(1, 2, sharey=True),
        (found.before, found.after),
        ("as exported", "with temperature"),
        strict=True,
    ):
        bins = measured.bins if measured else ()
        axes.plot([0, 1], [0, 1], color=QUIET, lw=1, ls=(0, (5, 4)))
        axes.bar(
            [one.confidence for one in bins],
            [one.accuracy for one in bins],
            width=0.045,
            color=["#0072b2"] * len(bins),
            alpha=0.85,
        )
        for one in bins:
            axes.annotate(
                str(one.windows),
                (one.confidence, one.accuracy),
                (0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
            )
        error = measured.error if measured else float("nan")
        axes.set_title(f"{title}: expected calibration error {error:.3f}", fontsize=10, loc="left", color=INK)
        axes.set_xlim(0, 1.03)
        axes.set_ylim(0, 1.1)
        axes.set_xlabel("highest score")
        _plain(axes)
    figure.axes[0].set_ylabel("part that is right")
    return picture_of(
        figure,
        "Reliability: of windows whose highest score lies in a bin, the part with the right label; on the dashed "
        "line scores are as sure as they are right. Above the bars, windows; clips weigh alike. Right: each window "
        "at the temperature fitted on other sources.",
    )


def ranking_picture(made: Calibration) -> Picture | None:
    """ROC and precision-recall of each class; None without labelled clips."""
    examples, manifest = made.examples, made.bundle.manifest
    if examples is None:
        return None
    from whycam.detect.temperature import tempered

    scores = np.asarray(tempered(examples.logits, examples.own_scores, made.temperature.value), np.float64)
    figure = _figure(9.6, 4.6)
    roc, recall = figure.subplots(1, 2)
    colours = class_colours(manifest.classes, manifest.normal)
    for label in manifest.anomalies:
        column = manifest.classes.index(label)
        for found, style, what in (
            (by_windows(examples, scores, column), "-", "windows"),
            (by_clips(examples, scores, column), (0, (4, 2)), "clips"),
        ):
            if found is not None:
                _curves(roc, recall, found, colours[label], style, f"{label}, {what}")
    roc.plot([0, 1], [0, 1], color=QUIET, lw=1, ls=":")
    for axes, across, up in ((roc, "false positive rate", "true positive rate"), (recall, "recall", "precision")):
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.03)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        _plain(axes)
        axes.legend(fontsize=8, frameon=False, loc="lower right" if axes is roc else "lower left")
    return picture_of(
        figure, "ROC and precision-recall of each class against all others; a clip counts by its highest score."
    )


def delay_picture(made: Calibration) -> Picture | None:
    """Detections over time; None without labelled clips."""
    found = {point.label: point.chosen.detection for point in made.points if point.chosen.detection is not None}
    if not found:
        return None
    figure = _figure(9, 3.6)
    axes = figure.subplots()
    colours = class_colours(made.bundle.manifest.classes, made.bundle.manifest.normal)
    longest = max((delay for one in found.values() for delay in one.delays), default=1.0)
    for label, one in found.items():
        across = [0.0, *one.delays, longest * 1.05]
        up = np.concatenate([[0], np.arange(1, len(one.delays) + 1), [len(one.delays)]]) / one.events
        axes.step(across, up, where="post", color=colours[label], lw=2, label=f"{label} (n = {one.events})")
    axes.set_xlim(0, longest * 1.05)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("seconds from the beginning of the event to the alarm")
    axes.set_ylabel("events detected")
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    _plain(axes)
    return picture_of(figure, "The part of the labelled events that has raised an alarm within so many seconds.")


def _curves(roc: Axes, recall: Axes, found: Ranking, colour: str, style: object, name: str) -> None:
    counts = f"n = {found.positives} + {found.negatives}"
    roc.plot(*found.roc, color=colour, ls=style, lw=1.8, label=f"{name}: {found.roc_auc:.3f} ({counts})")
    recall.plot(*found.precision_recall, color=colour, ls=style, lw=1.8, label=f"{name}: {found.average_precision:.3f}")


def _thinned(where: Floats, scores: Floats) -> tuple[Floats, Floats]:
    if len(scores) <= _COLUMNS:
        return where, scores
    edges = np.linspace(0, len(scores), _COLUMNS + 1).astype(int)[:-1]
    filled = np.where(np.isnan(scores), -1.0, scores)
    highest = np.maximum.reduceat(filled, edges)
    return where[edges], np.where(highest < 0, np.nan, highest)


def _odds(threshold: float) -> float:
    bounded = min(max(threshold, 1e-6), 1 - 1e-6)
    return float(np.log(bounded / (1 - bounded)))


def _threshold_axis(axes: Axes) -> None:
    marks = (0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.99, 0.997, 0.999, 0.9999)
    axes.set_xticks([_odds(mark) for mark in marks], [f"{mark:g}" for mark in marks])
    axes.set_xlim(_odds(0.07), max(_odds(0.9999), axes.get_xlim()[1]))
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.grid(color=_GRID, lw=0.8, zorder=-1)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
