"""One picture of several methods' answers to one question: a row for each method, a column for each frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whycam.explain.explanation import Explanation
from whycam.libraries import MATPLOTLIB, needs
from whycam.pictures.figure import asked, shown, small, subtitle
from whycam.pictures.palette import ALERT, INK

_MOST_COLUMNS = 6
_CELL, _LARGEST_CELL = 1.9, 3.0
"""Width of a frame's picture, in inches; few columns have larger ones."""
_ROOM = 4.2
_LABELS = 1.5
_TOP, _BOTTOM = 1.03, 0.2


def draw_comparison(
    explanations: Sequence[Explanation],
    score: float,
    path: Path,
    frames: Sequence[NDArray[np.uint8]] | None = None,
    *,
    contours: bool = False,
) -> None:
    """Draw `explanations` of one window and question, of several methods, into the PNG file `path`.

    The columns are the frames that have heat maps, the most relevant ones where there are many. Each row has its own
    scale: methods measure in different units. `score` and `frames` as in `draw_explanation`.

    Raises MissingDependencyError without Matplotlib.
    """
    with needs(MATPLOTLIB):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    first = explanations[0]
    columns = sorted(first.order[:_MOST_COLUMNS])
    whole = first.frames if frames is None else frames
    pictures = {index: small(whole[index]) for index in columns}
    aspect = pictures[columns[0]].shape[0] / pictures[columns[0]].shape[1]
    cell = min(max(_CELL, _ROOM / len(columns)), _LARGEST_CELL)
    width = _LABELS + len(columns) * cell + 0.2
    height = _TOP + len(explanations) * (cell * aspect + 0.06) + _BOTTOM
    figure = Figure(figsize=(width, height), dpi=130)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(explanations),
        len(columns),
        left=_LABELS / width,
        right=1 - 0.2 / width,
        top=1 - _TOP / height,
        bottom=_BOTTOM / height,
        wspace=0.04,
        hspace=0.06 / (cell * aspect),
    )
    for row, explanation in enumerate(explanations):
        peak = float(explanation.heatmaps.max())
        for column, index in enumerate(columns):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(
                shown(pictures[index], explanation, index, peak, contours=contours)[..., ::-1], interpolation="lanczos"
            )
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_color("#c9ced4")
            if row == 0:
                title = f"{explanation.times[index]:.2f} s, {explanation.relevance[index]:.0%}"
                colour = ALERT if index == first.order[0] else INK
                axes.set_title(title, fontsize=8, color=colour, pad=3)
            if column == 0:
                silent = "" if peak > 0 else "\n(nothing)"
                axes.set_ylabel(
                    f"{explanation.method}{silent}",
                    rotation=0,
                    ha="right",
                    va="center",
                    fontsize=8.5,
                    color=INK,
                    labelpad=8,
                )
    left = 0.2 / width
    headline = f"{first.label} {score:.2f} at {first.times[-1]:.2f} s"
    figure.text(left, 1 - 0.32 / height, headline, fontsize=14, weight="bold", color=INK)
    subtitle(figure, left, 1 - 0.54 / height, asked(first))
    subtitle(figure, left, 1 - 0.72 / height, f"each method on its own scale; relevance by {first.time}")
    figure.savefig(path, format="png", facecolor="white")
