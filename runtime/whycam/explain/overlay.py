"""A heat map laid over its frame, or drawn around what it shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whycam.errors import InputError
from whycam.libraries import OPENCV, needs
from whycam.sources.frame import check_image

STRENGTH = 0.75
"""How much of the picture the peak of a heat map covers."""
LEVELS = (0.25, 0.5, 0.75)
"""Parts of the peak around which the contour view draws its lines."""


def overlay(frame: NDArray[np.uint8], heatmap: NDArray[np.float32], peak: float | None = None) -> NDArray[np.uint8]:
    """`frame`, uint8 [H, W, 3] BGR, with `heatmap` [h, w] over it, as a new uint8 [H, W, 3].

    Where the map is zero the picture shows as it is; it glows from violet over red to yellow with the map's value.
    `peak` is the value that glows fully: by default the map's own maximum. Give the window's maximum to compare the
    frames of a window.

    Raises InputError where the frame is not uint8 [H, W, 3], the map not finite numbers [h, w], or `peak` not positive.

    >>> import numpy as np
    >>> frame = np.full((90, 160, 3), 128, dtype=np.uint8)
    >>> overlay(frame, np.eye(7, dtype=np.float32)).shape
    (90, 160, 3)
    """
    peak = _checked(frame, heatmap, peak)
    with needs(OPENCV):
        import cv2
    if peak <= 0:
        return np.array(frame)
    height, width = frame.shape[:2]
    heat = cv2.resize(heatmap.astype(np.float32) / peak, (width, height), interpolation=cv2.INTER_CUBIC)
    heat = np.clip(heat, 0, 1)
    colours = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    cover = (STRENGTH * np.sqrt(heat))[..., np.newaxis]
    blend: NDArray[np.uint8] = (frame * (1 - cover) + colours * cover + 0.5).astype(np.uint8)
    return blend


def outline(frame: NDArray[np.uint8], heatmap: NDArray[np.float32], peak: float | None = None) -> NDArray[np.uint8]:
    """`frame` with lines around where `heatmap` reaches 1/4, 1/2 and 3/4 of `peak`: the contour view of Poirier 2024.

    Inside them the picture stays as it is, at the price of how strong the heat is. Types and errors as `overlay`.
    """
    peak = _checked(frame, heatmap, peak)
    with needs(OPENCV):
        import cv2
    drawn = np.array(frame)
    if peak <= 0:
        return drawn
    height, width = frame.shape[:2]
    heat = cv2.resize(heatmap.astype(np.float32) / peak, (width, height), interpolation=cv2.INTER_CUBIC)
    for level, colour in zip(LEVELS, _shades(), strict=True):
        lines, _ = cv2.findContours((heat >= level).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        shade = tuple(int(part) for part in colour[0])
        cv2.drawContours(drawn, lines, -1, shade, max(1, width // 200), cv2.LINE_AA)
    return drawn


def _shades() -> NDArray[np.uint8]:
    """A colour for each level, bright enough for a thin line, uint8 [levels, 1, 3] BGR."""
    import cv2

    levels = np.array([[round(255 * (0.4 + 0.6 * level))] for level in LEVELS], np.uint8)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), np.uint8)


def _checked(frame: NDArray[np.uint8], heatmap: NDArray[np.float32], peak: float | None) -> float:
    """The value that glows fully."""
    check_image(frame)
    if heatmap.ndim != 2 or heatmap.size == 0 or not np.isfinite(heatmap).all():
        raise InputError(f"a heat map must be an array [h, w] of finite numbers, not {list(heatmap.shape)}")
    if peak is None:
        peak = float(heatmap.max())
    elif not peak > 0:
        raise InputError(f"the peak of a heat map must be positive, not {peak:g}")
    return peak
