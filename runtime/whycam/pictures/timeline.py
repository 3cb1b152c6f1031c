"""Scores over time, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whycam.bundle import Manifest
from whycam.detect.decision import Decision
from whycam.libraries import MATPLOTLIB, needs
from whycam.pictures.palette import ALERT, INK, QUIET, class_colours


def draw_timeline(decisions: Sequence[Decision], manifest: Manifest, title: str, path: Path) -> None:
    """Draw the scores of `decisions` over time into the PNG file `path`.

    A line per class, dashed at each threshold; alerts are shaded red, cold windows grey.

    Raises MissingDependencyError without Matplotlib.
    """
    with needs(MATPLOTLIB):
        from matplotlib.artist import Artist
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch

    figure = Figure(figsize=(12, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    times = [decision.time for decision in decisions]
    colours = class_colours(manifest.classes, manifest.normal)
    interval = manifest.window.frame_interval

    handles: list[Artist] = []
    for name in manifest.classes:
        scores = [decision.scores[name] for decision in decisions]
        quiet = name == manifest.normal
        width, order = (1.4, 2) if quiet else (2.2, 3)
        handles += axes.plot(times, scores, color=colours[name], lw=width, zorder=order, label=name)
    for name, threshold in manifest.thresholds.items():
        axes.axhline(threshold, color=colours[name], lw=1, ls=(0, (5, 4)), alpha=0.8, zorder=1)
    for state, colour, alpha, label in (
        ([decision.alert for decision in decisions], ALERT, 0.16, "alert"),
        ([not decision.warm for decision in decisions], QUIET, 0.16, "window not full"),
    ):
        shown = spans(times, state, interval)
        for start, end in shown:
            axes.axvspan(start, end, color=colour, alpha=alpha, lw=0, zorder=0)
        if shown:
            handles.append(Patch(facecolor=colour, alpha=0.3, label=label))

    if times:
        axes.set_xlim(times[0] - interval / 2, times[-1] + interval / 2)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("time (s)")
    axes.set_ylabel("score")
    axes.set_title(title, loc="left", fontsize=12, color=INK, pad=10)
    axes.grid(axis="y", color="#e4e7ea", lw=0.8, zorder=-1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, format="png")


def spans(times: Sequence[float], state: Sequence[bool], interval: float) -> list[tuple[float, float]]:
    """Where `state` holds, half an interval wider on both sides."""
    spans: list[tuple[float, float]] = []
    for time, holds in zip(times, state, strict=True):
        if not holds:
            continue
        start, end = time - interval / 2, time + interval / 2
        if spans and start <= spans[-1][1] + interval / 2:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans
