"""What a recording would have raised, as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from whycam.bundle import Manifest
from whycam.libraries import MATPLOTLIB, needs
from whycam.pictures.palette import INK, QUIET, class_colours
from whycam.pictures.timeline import spans

if TYPE_CHECKING:
    from whycam.alerts.replay import Replay


def draw_episodes(made: Replay, manifest: Manifest, title: str, path: Path) -> None:
    """Draw the scores of each class that raises, a panel for each, and its episodes, into the PNG file `path`.

    Dashed, the score that raises; dotted, the score that clears. An episode is shaded from its onset to its end, with a
    line where it is raised; hatched, the cool-down in which no other is raised. Windows that are not full are grey.

    Raises MissingDependencyError without Matplotlib.
    """
    with needs(MATPLOTLIB):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    names = manifest.anomalies
    figure = Figure(figsize=(12, 1.2 + 2.1 * len(names)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(names), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    times = [decision.time for decision in made.decisions]
    interval = manifest.window.frame_interval
    end = times[-1] + interval / 2 if times else 0.0
    colours = class_colours(manifest.classes, manifest.normal)
    cold = spans(times, [not decision.warm for decision in made.decisions], interval)
    for name, axes in zip(names, panels, strict=True):
        colour = colours[name]
        for start, stop in cold:
            axes.axvspan(start, stop, color=QUIET, alpha=0.16, lw=0, zorder=0)
        threshold = made.thresholds[name]
        axes.axhline(threshold, color=colour, lw=1, ls=(0, (5, 4)), zorder=1)
        axes.axhline(made.clears[name], color=colour, lw=1, ls=":", zorder=1)
        axes.plot(times, [decision.scores[name] for decision in made.decisions], color=colour, lw=2, zorder=3)
        for span in made.spans():
            if span.label == name:
                axes.axvspan(span.onset, end if span.ended is None else span.ended, color=colour, alpha=0.2, lw=0)
                axes.axvline(span.raised, color=colour, lw=1.2, zorder=2)
                late = bool(times) and span.raised > times[0] + 0.9 * (end - times[0])
                axes.annotate(
                    f"raised {span.raised:.1f} s",
                    (span.raised, 1.05),
                    xytext=(-4 if late else 4, 2),
                    textcoords="offset points",
                    ha="right" if late else "left",
                    fontsize=9,
                    color=INK,
                )
                if span.cleared is not None and made.cool_down_seconds > 0:
                    until = min(end, span.cleared + made.cool_down_seconds)
                    axes.axvspan(span.cleared, until, fc="none", ec=QUIET, alpha=0.5, lw=0, hatch="//", zorder=0)
                    axes.annotate(
                        "cool-down",
                        (span.cleared, 1.05),
                        xytext=(4, 2),
                        textcoords="offset points",
                        fontsize=9,
                        color=INK,
                        bbox={"fc": "white", "ec": "none", "pad": 1},
                    )
        axes.set_ylabel(name, color=INK)
        axes.grid(axis="y", color="#e4e7ea", lw=0.8, zorder=-1)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylim(-0.02, 1.16)
    if times:
        panels[0].set_xlim(times[0] - interval / 2, end)
    panels[-1].set_xlabel("time (s)")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK)
    figure.savefig(path, format="png")
