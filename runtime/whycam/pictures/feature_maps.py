"""The feature maps of one frame: what the strongest channels of a CAM layer respond to (Poirier 2024)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from whycam.detect.ring import Snapshot
from whycam.explain.explanation import Explanation
from whycam.libraries import MATPLOTLIB, needs
from whycam.pictures.palette import INK, QUIET

_MOST = 23
_COLUMNS = 8
_CELL = 1.35
"""Width of a map's picture, in inches."""


def draw_feature_maps(window: Snapshot, index: int, explanation: Explanation, path: Path) -> None:
    """Draw frame `index` of `window` and its most active maps into the PNG file `path`.

    Those of the first CAM layer, strongest mean first, on one scale, each with the number of its channel.

    Raises MissingDependencyError without Matplotlib.
    """
    with needs(MATPLOTLIB):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    sample = window.samples[index]
    maps = np.asarray(sample.maps[0])
    strongest = np.argsort(-maps.mean(axis=(1, 2)), kind="stable")[:_MOST]
    rows = math.ceil((len(strongest) + 1) / _COLUMNS)
    aspect = sample.image.shape[0] / sample.image.shape[1]
    width, height = _COLUMNS * _CELL + 0.4, rows * (_CELL * aspect + 0.2) + 0.9
    figure = Figure(figsize=(width, height), dpi=130)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        rows,
        _COLUMNS,
        left=0.2 / width,
        right=1 - 0.2 / width,
        top=1 - 0.8 / height,
        bottom=0.1 / height,
        wspace=0.05,
        hspace=0.2 / (_CELL * aspect),
    )
    for place in range(len(strongest) + 1):
        axes = figure.add_subplot(grid[place // _COLUMNS, place % _COLUMNS])
        axes.set_axis_off()
        if place == 0:
            axes.imshow(np.asarray(sample.image)[..., ::-1], interpolation="lanczos")
            axes.set_title("frame", fontsize=7.5, color=INK, pad=2.5)
            continue
        channel = int(strongest[place - 1])
        axes.imshow(
            maps[channel],
            cmap="inferno",
            vmin=0,
            vmax=float(maps.max()) or 1,
            aspect=aspect * maps.shape[2] / maps.shape[1],
        )
        axes.set_title(f"{channel}", fontsize=7.5, color=INK, pad=2.5)
    headline = f"feature maps at {sample.time:.2f} s"
    figure.text(0.2 / width, 1 - 0.32 / height, headline, fontsize=14, weight="bold", color=INK)
    text = (
        f"the {len(strongest)} most active of {len(maps)} channels, of the frame most relevant for {explanation.label}"
    )
    figure.text(0.2 / width, 1 - 0.54 / height, text, fontsize=9, color=QUIET)
    figure.savefig(path, format="png", facecolor="white")
