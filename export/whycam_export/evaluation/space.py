"""Where: whether the heat lies on the anomaly, by its true mask."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Heatmap = NDArray[np.float32]
Mask = NDArray[np.bool_]


def peak(heatmap: Heatmap, height: int, width: int) -> tuple[float, float]:
    """Row and column, in a frame of `height` x `width` pixels, of the centre of the heat map's largest cell."""
    row, column = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
    return (float(row) + 0.5) * height / heatmap.shape[0], (float(column) + 0.5) * width / heatmap.shape[1]


def resized(heatmap: Heatmap, height: int, width: int) -> Heatmap:
    """The heat map [h, w] at `height` x `width` pixels, by linear interpolation."""
    if heatmap.shape == (height, width):
        return heatmap
    return np.asarray(cv2.resize(heatmap, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def hits(heatmap: Heatmap, mask: Mask) -> bool:
    """Whether the peak of the heat map [h, w] lies inside the mask [H, W]; a map without any heat misses.

    The pointing game (Zhang et al. 2016, "Top-down neural attention by excitation backprop", section 4.1), without
    its margin around the object. Its chance level is the mask's part of the frame.
    """
    row, column = peak(heatmap, *mask.shape)
    return bool(heatmap.max() > 0 and mask[int(row), int(column)])


def energy_inside(heatmap: Heatmap, mask: Mask) -> float:
    """The part of the heat of the map [h, w] that lies inside the mask [H, W]; 0 for a map without any heat.

    The energy-based pointing game (Wang et al. 2020, "Score-CAM", section 4.3). Its chance level is the mask's part of
    the frame.
    """
    heat = resized(heatmap, *mask.shape)
    total = float(heat.sum(dtype=np.float64))
    return float(heat[mask].sum(dtype=np.float64)) / total if total > 0 else 0.0
