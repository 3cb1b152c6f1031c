"""One picture of a whole explanation: the window's frames with their heat maps, and each frame's relevance below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from whycam.explain.explanation import Explanation
from whycam.explain.overlay import outline, overlay
from whycam.libraries import MATPLOTLIB, needs
from whycam.pictures.palette import ALERT, INK, QUIET

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Image = NDArray[np.uint8]

_MOST_COLUMNS = 10
_CELL, _LARGEST_CELL = 1.55, 3.0
"""Width of a frame's picture, in inches; short windows have larger ones."""
_ROOM, _SIDES = 6.2, 1.4
_CELL_PIXELS = 320
_SMALLEST = 5
"""Points of a letter."""


def draw_explanation(
    explanation: Explanation,
    score: float,
    path: Path,
    frames: Sequence[Image] | None = None,
    *,
    contours: bool = False,
) -> None:
    """Draw `explanation` into the PNG file `path`.

    `score` is the window's score of the class explained. `frames` are the window's T frames in their own size and
    shape, uint8 [H, W, 3] BGR; by default those that the explanation holds, at the model's size. All heat maps
    share one scale, so a frame that did not matter stays dark; one that has no heat map is shown pale. With `contours`
    lines are drawn around the heat instead.

    Raises MissingDependencyError without Matplotlib.
    """
    with needs(MATPLOTLIB):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize
        from matplotlib.figure import Figure

    pictures = list(explanation.frames) if frames is None else [small(frame) for frame in frames]
    count = len(pictures)
    rows = math.ceil(count / _MOST_COLUMNS)
    columns = math.ceil(count / rows)
    aspect = pictures[0].shape[0] / pictures[0].shape[1]
    cell = min(max(_CELL, _ROOM / columns), _LARGEST_CELL)
    cell_height = cell * aspect + 0.24
    width = max(columns * cell, _ROOM) + _SIDES
    height = rows * cell_height + 2.73

    figure = Figure(figsize=(width, height), dpi=130)
    FigureCanvasAgg(figure)
    left, right = 0.62 / width, 1 - (_SIDES - 0.62) / width
    top, middle = 1 - 0.78 / height, 1.95 / height

    grid = figure.add_gridspec(
        rows, columns, left=left, right=right, top=top, bottom=middle, wspace=0.05, hspace=0.24 / cell_height
    )
    peak = float(explanation.heatmaps.max())
    for index, picture in enumerate(pictures):
        axes = figure.add_subplot(grid[index // columns, index % columns])
        heated = shown(picture, explanation, index, peak, contours=contours)
        axes.imshow(heated[..., ::-1], interpolation="lanczos")
        axes.set_title(f"{explanation.times[index]:.2f} s", fontsize=7.5, color=INK, pad=2.5)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color("#c9ced4")
        if index == int(explanation.relevance.argmax()) and explanation.relevance.max() > 0:
            axes.spines[:].set(color=ALERT, linewidth=2)

    # Inferno is what `overlay` glows in.
    scale = ScalarMappable(Normalize(0, peak or 1), cmap="inferno")
    bar = figure.add_axes((right + 0.12 / width, middle, 0.13 / width, top - middle))
    figure.colorbar(scale, cax=bar)
    bar.set_ylabel("heat", fontsize=7.5)
    bar.tick_params(labelsize=7)
    bar.ticklabel_format(style="sci", scilimits=(-2, 3), useMathText=True)
    bar.yaxis.get_offset_text().set_fontsize(7)

    below = figure.add_axes((left, 0.48 / height, right - left, 1.0 / height))
    strongest = explanation.relevance == explanation.relevance.max()
    below.bar(range(count), explanation.relevance, width=0.82, color=np.where(strongest, ALERT, QUIET).tolist())
    below.set_xlim(-0.5, count - 0.5)
    below.set_ylim(0, max(float(explanation.relevance.max()) * 1.12, 0.01))
    below.set_xticks(range(count), [f"{time:.1f}" for time in explanation.times], fontsize=7)
    below.tick_params(axis="y", labelsize=7)
    below.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    below.set_xlabel("time (s)", fontsize=8)
    below.set_ylabel("relevance", fontsize=8)
    below.grid(axis="y", color="#e4e7ea", lw=0.8)
    below.set_axisbelow(True)
    below.spines[["top", "right"]].set_visible(False)

    figure.text(left, 1 - 0.32 / height, _headline(explanation, score), fontsize=14, weight="bold", color=INK)
    subtitle(figure, left, 1 - 0.54 / height, _question(explanation))
    figure.savefig(path, format="png", facecolor="white")


def subtitle(figure: Figure, left: float, bottom: float, text: str) -> None:
    """Write `text` from `left` on, smaller where it would run out of the picture."""
    size = 9.0
    drawn = figure.text(left, bottom, text, fontsize=size, color=QUIET)
    # Letters are set on whole pixels, so a text's width does not go down quite as its size does.
    while drawn.get_window_extent().x1 > 0.985 * figure.bbox.width and size > _SMALLEST:
        size -= 0.25
        drawn.set_fontsize(size)


def shown(picture: Image, explanation: Explanation, index: int, peak: float, *, contours: bool) -> Image:
    """Frame `index` of the window under its heat map, or within its contours; pale where it has none."""
    if index not in explanation.explained:
        return np.asarray(picture * 0.35 + 255 * 0.65, dtype=np.uint8)
    if peak <= 0:
        return picture
    return (outline if contours else overlay)(picture, explanation.heatmaps[index], peak)


def _headline(explanation: Explanation, score: float) -> str:
    return f"{explanation.label} {score:.2f} at {explanation.times[-1]:.2f} s"


def _question(explanation: Explanation) -> str:
    silent = "" if explanation.relevance.max() > 0 else "; no frame speaks for it"
    return f"{asked(explanation)} by {explanation.method}, one scale for all frames{silent}"


def asked(explanation: Explanation) -> str:
    """The question that the explanation answers."""
    contrast = "" if explanation.versus is None else f" rather than {explanation.versus}"
    usual = ", seen against what is usual here" if explanation.reference == "usual" else ""
    return f"{'what speaks against' if explanation.counter else 'why'} {explanation.label}{contrast}{usual}?"


def small(frame: Image) -> Image:
    """`frame`, no larger than a picture of it in a figure needs."""
    height, width = frame.shape[:2]
    if width <= _CELL_PIXELS:
        return frame
    size = (_CELL_PIXELS, max(1, round(height * _CELL_PIXELS / width)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
