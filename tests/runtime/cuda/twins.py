"""What the kernels compute, in numpy: exact in whole numbers, else in float64.

Written from the definitions and not from the kernels: weights are those of all pixels, sums those of whole arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def resized(image: Array, height: int, width: int) -> Array:
    """uint8 [H, W, 3] as uint8 [height, width, 3], by areas where it shrinks, else linear; rounded once, halves up."""
    sums, count = image.astype(np.float64), 1
    while all(side % 2 == 0 and side >= 8 * wanted for side, wanted in zip(sums.shape, (height, width), strict=False)):
        sums = sums[::2, ::2] + sums[::2, 1::2] + sums[1::2, ::2] + sums[1::2, 1::2]
        count *= 4
    sides = (sums.shape[0], height), (sums.shape[1], width)
    if sums.shape[0] * sums.shape[1] > height * width:
        one_grows = any(length < wanted for length, wanted in sides)
        down, across = (_overlaps(length, wanted, one_grows) for length, wanted in sides)
    else:
        down, across = (_hats(length, wanted) for length, wanted in sides)
    # Whole numbers far below 2^53, exact in float64, whose products are quicker.
    sums = np.einsum("wx,hxc->hwc", across, np.einsum("hy,yxc->hxc", down, sums, optimize=True), optimize=True)
    total = int(down[0].sum() * across[0].sum()) * count
    return ((2 * sums.astype(np.int64) + total) // (2 * total)).astype(np.uint8)


def _overlaps(length: int, wanted: int, one_grows: bool) -> Array:
    # Of pixel j of the line with what becomes pixel i, [wanted, length], where the line is length * wanted long.
    i, j = np.arange(wanted)[:, np.newaxis], np.arange(length)
    weights = np.minimum((i + 1) * length, (j + 1) * wanted) - np.maximum(i * length, j * wanted)
    weights = np.maximum(weights, 0).astype(np.float64)
    if one_grows:
        # OpenCV has areas for images that shrink on both sides, else the first pixel and the one beside it.
        for row in weights:
            first, *others = np.flatnonzero(row)
            row[others[1:]] = 0
            row[others[:1]] = length - row[first]
    return weights


def _hats(length: int, wanted: int) -> Array:
    # By the distance between the middles of pixels, where the line is 2 * length * wanted long.
    to = np.clip((2 * np.arange(wanted) + 1) * length, wanted, (2 * length - 1) * wanted)
    of = (2 * np.arange(length) + 1) * wanted
    return np.maximum(2 * wanted - np.abs(to[:, np.newaxis] - of), 0).astype(np.float64)


def bgr_from_nv12(luma: Array, chroma: Array) -> Array:
    """uint8 [H, W] and [ceil(H / 2), ceil(W / 2), 2] as uint8 BGR [H, W, 3]: ITU-R BT.601, limited range."""
    height, width = luma.shape
    u, v = np.moveaxis(chroma.repeat(2, axis=0).repeat(2, axis=1)[:height, :width] - 128.0, -1, 0)
    # The standard's coefficients, as OpenCV rounds them.
    of_grey, blue_u, green_u, green_v, red_v = np.array([1220542, 2116026, -409993, -852492, 1673527]) / 2**20
    grey = of_grey * np.maximum(luma - 16.0, 0)
    bgr = np.stack([grey + blue_u * u, grey + green_u * u + green_v * v, grey + red_v * v], axis=-1)
    return np.clip(np.floor(bgr + 0.5), 0, 255).astype(np.uint8)


def towards(old: Array, new: Array, share: float) -> Array:
    return (1 - share) * old.astype(np.float64) + share * new.astype(np.float64)


def class_activation(method: str, maps: Array, gradient: Array) -> Array:
    """Heat maps [n, h, w] of maps and gradient float64 [n, C, h, w]; the papers are named in whycam.explain.cams."""
    positive = np.maximum(gradient, 0)
    match method:
        case "grad-cam":
            weights = _at_places(gradient.mean(axis=(2, 3)))
        case "grad-cam++":
            total = _at_places(np.maximum(maps.sum(axis=(2, 3)), 0))
            # Without a gradient alpha is 0 / 0, and counts as nothing.
            alpha = positive**2 / np.where(positive > 0, 2 * positive**2 + total * positive**3, 1)
            weights = _at_places((alpha * positive).sum(axis=(2, 3)))
        case "xgrad-cam":
            weights = _at_places(np.average(gradient, axis=(2, 3), weights=np.abs(maps) + 1e-30))
        case "hirescam":
            weights = gradient
        case "layercam":
            weights = positive
    return np.maximum((weights * maps).sum(axis=1), 0)


def _at_places(of_maps: Array) -> Array:
    return of_maps[:, :, np.newaxis, np.newaxis]


def frame_dots(features: Array, gradient: Array, resting: Array) -> Array:
    """[T] of features and gradient float64 [T, F], resting [F]."""
    return np.array([np.dot(frame - resting, of) for frame, of in zip(features, gradient, strict=True)])


def windows_of_one(features: Array, resting: Array, keep: bool) -> Array:
    """[T + 1, T, F] of features [T, F], resting [F]."""
    own = np.eye(len(features) + 1, len(features), dtype=bool)[:, :, np.newaxis]
    return np.where(own == keep, features, resting)
