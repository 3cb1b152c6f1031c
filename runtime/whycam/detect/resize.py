"""Frames to the model's size, the same way in training and on the device."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whycam.libraries import OPENCV, needs


def resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """`image` uint8 [H, W, 3] as uint8 [height, width, 3]; the aspect ratio is not kept.

    Area averaging where the image shrinks, which neither aliases nor flickers; linear interpolation where it grows.
    Large images are halved first, as often as they stay four times as large: that is averaging too, and much faster.
    """
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    with needs(OPENCV):
        import cv2
    while _halves(image.shape[0], height) and _halves(image.shape[1], width):
        half = image.shape[1] // 2, image.shape[0] // 2
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    shrinks = image.shape[0] * image.shape[1] > height * width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), dtype=np.uint8)


def _halves(side: int, wanted: int) -> bool:
    return side % 2 == 0 and side >= 8 * wanted
