"""The signs of drift: a few numbers that say what a camera shows, each of which moves for a reason of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest

Vector = NDArray[np.float64]

GRID = 16
"""Rows and columns of the map of edges, where the picture has as many."""
_LUMA = np.array([0.114, 0.587, 0.299], dtype=np.float32)
_LEAST_SCORE = 1e-9


@dataclass(frozen=True)
class Sign:
    """A sign, what it means where it leaves its range, and the least spread that it is taken to have."""

    name: str
    less: str | None
    """What the camera shows where it is too low; None where low is as good as usual."""
    more: str
    floor: float
    """In its own unit: even a camera whose picture never changes is not taken to be steadier than this."""
    unit: str


SIGNS = (
    Sign("brightness", "darker", "brighter", 0.01, "log2 of the mean grey"),
    Sign("contrast", "less contrast", "more contrast", 0.01, "log2 of the spread of grey"),
    Sign("sharpness", "blurrier", "sharper or noisier", 0.03, "log2 of the Laplacian's variance over that of grey"),
    Sign("view", None, "another view", 0.01, "how far the edges are from where they usually are"),
    Sign("scene", None, "another scene", 0.01, "how far the features are from what they usually are"),
    Sign("scores", "lower scores", "higher scores", 0.1, "logit of the strongest anomaly, less that of normal"),
)


@dataclass(frozen=True, eq=False)
class Look:
    """What a picture looks like."""

    tones: Vector
    """Brightness, contrast and sharpness."""
    edges: NDArray[np.float32]
    """[cells]: how strong the edges are in each part of the picture, their mean being 1; 1 everywhere without edges."""


def look_of(image: NDArray[np.uint8]) -> Look:
    """The look of `image`, uint8 [H, W, 3] BGR at the model's size.

    Sharpness is the variance of the Laplacian (Pech-Pacheco et al., 2000), over that of the picture, so that contrast
    alone does not change it.
    """
    grey = image @ _LUMA
    inner = grey[1:-1, 1:-1]
    laplacian = 4 * inner - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    variance = float(grey.var())
    # One grey level more: a black or plain picture has a logarithm too.
    tones = np.array(
        [
            math.log2(float(grey.mean()) + 1),
            math.log2(math.sqrt(variance) + 1),
            math.log2((float(laplacian.var()) + 1) / (variance + 1)) if laplacian.size else 0.0,
        ]
    )
    return Look(tones, _edges(grey))


def lean_of(scores: Mapping[str, float], manifest: Manifest) -> float:
    """How far the model leans towards an anomaly: the logit of the strongest one less that of the normal class.

    Taken from the scores and the bundle's temperature, so that another temperature does not change it.
    """
    logs = {name: math.log(max(score, _LEAST_SCORE)) for name, score in scores.items()}
    return manifest.temperature * (max(logs[name] for name in manifest.anomalies) - logs[manifest.normal])


def novelty(
    values: NDArray[np.float32], usual: NDArray[np.float32], spread: NDArray[np.float32]
) -> NDArray[np.float64]:
    """How far `values` [..., n] are from what is usual [n], by their spread [n]: the root of the mean of log(1 + z^2).

    The logarithm keeps a part that is far out, as a passer-by is, from counting like a picture that has moved as a
    whole: it is the loss of a Cauchy distribution, which outliers bear on little. The root makes its distribution more
    like a normal one.
    """
    z = (values - usual) / spread
    return np.asarray(np.sqrt(np.log1p(z * z).mean(axis=-1)), dtype=np.float64)


def _edges(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    slopes = np.abs(grey[:-1, 1:] - grey[:-1, :-1]) + np.abs(grey[1:, :-1] - grey[:-1, :-1])
    if not slopes.size:
        return np.ones(1, dtype=np.float32)
    rows, columns = (np.linspace(0, side, min(GRID, side) + 1).astype(int) for side in slopes.shape)
    sums = np.add.reduceat(np.add.reduceat(slopes, rows[:-1], axis=0), columns[:-1], axis=1)
    means = sums / (np.diff(rows)[:, np.newaxis] * np.diff(columns))
    # A tenth of a grey level: where there are next to no edges, their place is noise.
    edges: NDArray[np.float32] = ((means + 0.1) / (means.mean() + 0.1)).astype(np.float32).ravel()
    return edges
