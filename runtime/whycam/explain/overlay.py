"""A heat map laid over its frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whycam.errors import InputError
from whycam.libraries import OPENCV, needs
from whycam.sources.frame import check_image

STRENGTH = 0.75
"""How much of the picture the peak of a heat map covers."""


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
    check_image(frame)
    if heatmap.ndim != 2 or heatmap.size == 0 or not np.isfinite(heatmap).all():
        raise InputError(f"a heat map must be an array [h, w] of finite numbers, not {list(heatmap.shape)}")
    if peak is None:
        peak = float(heatmap.max())
    elif not peak > 0:
        raise InputError(f"the peak of a heat map must be positive, not {peak:g}")
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
