"""Pictures of a training run: its history and its confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_TRAIN, _VALIDATION, _KEPT = "#3a6ea5", "#d1652b", "#777777"


def draw_history(path: Path, rows: Sequence[Mapping[str, Any]], kept: Sequence[int], title: str) -> None:
    """Cross-entropy and accuracy over the epochs as PNG; `kept` marks the rows (from 1) whose weights were kept."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    epochs = np.arange(1, len(rows) + 1)
    for axes, (name, label) in zip(
        figure.subplots(1, 2), (("cross_entropy", "cross-entropy"), ("accuracy", "accuracy of windows")), strict=True
    ):
        axes.plot(epochs, [row[name] for row in rows], color=_TRAIN, label="training")
        axes.plot(epochs, [row[f"val_{name}"] for row in rows], color=_VALIDATION, label="validation")
        for index, epoch in enumerate(kept):
            axes.axvline(epoch, color=_KEPT, linestyle=":", label="weights kept" if index == 0 else None)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    figure.axes[1].set_ylim(0, 1.02)
    figure.axes[0].set_ylim(bottom=0)
    figure.savefig(path, format="png")


def draw_confusion(path: Path, counts: npt.NDArray[np.int64], classes: Sequence[str], title: str) -> None:
    """The confusion matrix [K, K] as PNG: clips, and each row's shares as shades."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side = 2.6 + 0.8 * len(classes)
    figure = Figure(figsize=(side + 0.8, side), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        shade = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, f"{count}\n{shares[row, column]:.0%}", ha="center", va="center", color=shade)
    places = range(len(classes))
    axes.set_xticks(places, classes, rotation=30 if len(classes) > 3 else 0)
    axes.set_yticks(places, classes)
    axes.set(xlabel="predicted", ylabel="true class", title=title)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    figure.savefig(path, format="png")
