"""How far the focus jumps from frame to frame, beside how far the anomaly itself moves.

The paper (Poirier 2024) leaves it as an open finding that the focus jumps between consecutive frames. All distances are
in parts of the frame's diagonal, whatever the size of the map.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from whycam_export.evaluation.space import peak

Point = tuple[float, float]
"""Row and column, each in parts of its side."""
Floats = NDArray[np.float32]


def peak_point(heatmap: Floats) -> Point:
    """Where the largest cell of the map [h, w] is."""
    return peak(heatmap, 1, 1)


def centre_of_mass(values: Floats) -> Point:
    """The mean place of what the map [h, w] holds, weighted by how much."""
    weights = values.astype(np.float64)
    total = weights.sum()
    rows, columns = ((np.arange(size) + 0.5) / size for size in weights.shape)
    return float(weights.sum(axis=1) @ rows / total), float(weights.sum(axis=0) @ columns / total)


def jumps(maps: Floats, point: Callable[[Floats], Point], aspect: float) -> list[float]:
    """How far `point` of the maps [T, h, w] moves between consecutive ones that both hold something.

    `aspect` is the frame's width over its height; distances are in parts of its diagonal.
    """
    points = [point(each) if each.max() > 0 else None for each in maps]
    diagonal = float(np.hypot(1, aspect))
    return [
        float(np.hypot(after[0] - before[0], (after[1] - before[1]) * aspect)) / diagonal
        for before, after in pairwise(points)
        if before is not None and after is not None
    ]
