"""Deletion and insertion in space: does the score fall as the hottest pixels go, and rise as they alone are shown?

Petsiuk, Das and Saenko 2018, "RISE", section 4.3: the area under the score of the class over the part of the pixels
that is deleted (low is good) or inserted (high is good). Here of a whole window at once, the same part of each frame.
What is deleted is blurred rather than black, and what is inserted appears on the blurred window: hard edges would be
news to the network.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from whycam_export.evaluation.space import resized

STEPS = 8
"""Equal parts in which pixels go and come."""
BLUR = 0.1
"""Standard deviation of the blur, in parts of the frame's longer side."""
SPREAD = 0.25
"""Standard deviation of the centre Gaussian, in parts of each side."""

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]
Score = Callable[[Images], Floats]
"""The class's score [N] of windows of frames, uint8 [N, T, H, W, 3]."""


def blurred(images: Images) -> Images:
    """The frames [T, H, W, 3] without their detail."""
    sigma = BLUR * max(images.shape[1:3])
    return np.stack([cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for image in images])


def ranks(heatmaps: Floats, height: int, width: int, rng: np.random.Generator) -> Floats:
    """The part of its frame's pixels that is hotter than each pixel, f32 [T, height, width]; ties are drawn by lot."""
    found = np.empty((len(heatmaps), height * width), np.float32)
    for place, heatmap in zip(found, heatmaps, strict=True):
        heat = resized(heatmap, height, width).ravel()
        lot = rng.permutation(heat.size)
        order = lot[np.argsort(-heat[lot], kind="stable")]
        place[order] = np.arange(heat.size, dtype=np.float32) / np.float32(heat.size)
    return found.reshape(len(heatmaps), height, width)


def replaced(window: Images, other: Images, rank: Floats) -> Images:
    """The `window` [T, H, W, 3] with 1, 2, .. STEPS - 1 of `STEPS` parts of its hottest pixels taken from the `other`.

    `rank` is f32 [T, H, W], see `ranks`; the windows are uint8 [STEPS - 1, T, H, W, 3].
    """
    taken = [rank < step / STEPS for step in range(1, STEPS)]
    return np.stack([np.where(each[..., np.newaxis], other, window) for each in taken])


def curves(
    images: Images, veiled: Images, ends: tuple[float, float], rank: Floats, score: Score
) -> tuple[Floats, Floats]:
    """The scores [STEPS + 1] as pixels are deleted and as they are inserted, in the order of `rank` [T, H, W].

    `ends` are the scores of the whole window and of the veiled one, which are the same for every order.
    """
    whole, bare = ends
    deleted, inserted = score(replaced(images, veiled, rank)), score(replaced(veiled, images, rank))
    return np.array([whole, *deleted, bare], np.float32), np.array([bare, *inserted, whole], np.float32)


def area(curve: Floats) -> float:
    """The area under a curve of equal steps [n] over 0 to 1, by trapezoids."""
    values = curve.astype(np.float64)
    return float((values[1:] + values[:-1]).mean() / 2)


def random_maps(frames: int, height: int, width: int, rng: np.random.Generator) -> Floats:
    """Maps of smooth noise, f32 [T, height, width], 0 and more: as grainy as heat maps of that size, and no truer."""
    noise = rng.normal(size=(frames, height, width)).astype(np.float32)
    smooth = [cv2.GaussianBlur(each, (0, 0), 1.0, borderType=cv2.BORDER_REFLECT) for each in noise]
    return np.stack([each - each.min() for each in smooth])


def centre_maps(frames: int, height: int, width: int) -> Floats:
    """The same Gaussian about the centre of each frame, f32 [T, height, width]: what cameras show is in the middle."""
    rows, columns = (
        np.exp(-(((np.arange(size) + 0.5) / size - 0.5) ** 2) / (2 * SPREAD**2)) for size in (height, width)
    )
    return np.repeat(np.outer(rows, columns)[np.newaxis], frames, axis=0).astype(np.float32)
