"""The pictures of the report on a precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whycam.explain.overlay import overlay
from whycam_calibration.precision.candidate import Candidate
from whycam_calibration.precision.ground import Ground
from whycam_calibration.precision.seen import explained
from whycam_calibration.report import Picture, picture_of, picture_of_image

_WINDOWS, _FRAMES, _SIDE, _GAP = 3, 6, 150, 4


def error_bars(ground: Ground, found: Sequence[Candidate]) -> Picture:
    """The error of each layer alone in INT8."""
    from matplotlib.figure import Figure

    layers = ground.network.layers
    figure = Figure(figsize=(9, 1.2 + 0.22 * len(layers)))
    axes = figure.subplots()
    height = 0.8 / len(found)
    for place, each in enumerate(found):
        rows = np.arange(len(layers)) + place * height
        kept = [layer.name in each.higher for layer in layers]
        axes.barh(
            rows,
            [each.errors[layer.node] for layer in layers],
            height,
            label=each.precision,
            color=["#c81e37" if high else f"C{place}" for high in kept],
        )
    axes.set_yticks(np.arange(len(layers)) + 0.4 - height / 2, [layer.name for layer in layers], fontsize=7)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel("relative error")
    axes.legend(fontsize=8)
    return picture_of(figure, "Error of each layer alone in INT8; red: left in float32.")


def score_scatter(ground: Ground, found: Sequence[Candidate]) -> Picture:
    """The scores of each window, by fp32 and by what was found."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(found), 4.4))
    grid = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, each in zip(grid, found, strict=True):
        axes.plot([0, 1], [0, 1], color="#5b646e", linewidth=0.6)
        for index, name in enumerate(ground.manifest.classes):
            axes.scatter(ground.reference.scores[:, index], each.seen.scores[:, index], s=9, alpha=0.6, label=name)
        axes.set(xlabel="fp32", ylabel=each.precision, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.legend(fontsize=8)
    return picture_of(figure, "A point for each window and class; on the line nothing has changed.")


def heat_map_pairs(ground: Ground, found: Candidate) -> tuple[Picture, ...]:
    """A few held-back windows: their frames, fp32's heat maps, and those of `found`."""
    places = explained(len(ground.held.windows))[: len(ground.reference.heatmaps)]
    if not places:
        return ()
    pictures = []
    for index in np.unique(np.linspace(0, len(places) - 1, min(_WINDOWS, len(places))).round().astype(int)):
        window = ground.held.windows[places[index]]
        ours, theirs = ground.reference.heatmaps[index], found.seen.heatmaps[index]
        frames = np.unique(np.linspace(0, len(window.images) - 1, min(_FRAMES, len(window.images))).round().astype(int))
        rows = [
            [_sized(window.images[frame]) for frame in frames],
            [_hot(window.images[frame], ours[frame], float(ours.max())) for frame in frames],
            [_hot(window.images[frame], theirs[frame], float(theirs.max())) for frame in frames],
        ]
        caption = f"{window.clip}, from {window.start:.1f} s: why {ground.labels[places[index]]} rather than normal."
        pictures.append(picture_of_image(_sheet(rows), caption))
    return tuple(pictures)


def _hot(image: NDArray[np.uint8], heatmap: NDArray[np.float32], peak: float) -> NDArray[np.uint8]:
    finite = np.nan_to_num(heatmap)
    return overlay(_sized(image), finite, peak=peak if np.isfinite(peak) and peak > 0 else 1.0)


def _sized(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    height, width = image.shape[:2]
    scale = _SIDE / max(height, width)
    return np.asarray(cv2.resize(image, (round(width * scale), round(height * scale))), np.uint8)


def _sheet(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    padded = [
        np.concatenate([np.pad(image, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for image in row], axis=1)
        for row in rows
    ]
    return np.concatenate(padded, axis=0)
