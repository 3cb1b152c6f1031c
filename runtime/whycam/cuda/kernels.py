"""What is computed on the GPU beside the model: kernels.cu, and a function for each thing that it does."""

from __future__ import annotations

from importlib import resources

import numpy as np
from numpy.typing import NDArray

from whycam.cuda.array import DeviceArray, Pool

Crop = tuple[int, int, int, int]
"""x, y, width and height of a part of a frame, in pixels."""

METHODS = {
    "grad-cam": "grad_cam_weights",
    "grad-cam++": "grad_cam_plus_plus_weights",
    "hirescam": "weighed_places",
    "layercam": "weighed_places",
    "xgrad-cam": "xgrad_cam_weights",
}
"""The methods of `class_activation`, and the first kernel of each."""

_LEAST = {"hirescam": np.float32(-np.inf), "layercam": np.float32(0)}
"""What the weight of a place is at least."""

_PARTS = 64
"""Threads that share the features of a frame in `frame_dots`: a frame alone would keep one of thousands busy."""


def source() -> str:
    """The kernels in CUDA C++."""
    return resources.files("whycam.cuda").joinpath("kernels.cu").read_text(encoding="utf-8")


def frame_from_bgr(frame: DeviceArray, crop: Crop, into: DeviceArray) -> None:
    """The part `crop` of a frame, resized as `whycam.detect.resize` does, but rounded once: within a level of it.

    `frame` is uint8 BGR, [H, W, 3], or [H, pitch] where its lines have a pitch in bytes; `into` is uint8
    [height, width, 3]. A crop that shrinks on one side and grows on the other may differ in lines that begin with a
    whole pixel: OpenCV's rounding takes the one before. Raises ValueError for a crop beyond the frame.
    """
    pitch = frame.nbytes // len(frame)
    _within(crop, pitch // 3, len(frame))
    height, width = _pixels(into)
    _launch(into.pool, "frame_from_bgr", height * width, frame, pitch, *crop, into, width, height)


def frame_from_nv12(luma: DeviceArray, chroma: DeviceArray, crop: Crop, into: DeviceArray) -> None:
    """The same from NV12, as OpenCV's COLOR_YUV2BGR_NV12 (ITU-R BT.601, limited range) before it is resized.

    `luma` is uint8 [H, pitch]; `chroma` is uint8 [H / 2, pitch], U and V in turn for each 2 x 2 pixels. Raises
    ValueError for a crop beyond them.
    """
    pitches = luma.nbytes // len(luma), chroma.nbytes // len(chroma)
    _within(crop, min(pitches[0], pitches[1] // 2 * 2), min(len(luma), len(chroma) * 2))
    height, width = _pixels(into)
    given = luma, pitches[0], chroma, pitches[1], *crop, into, width, height
    _launch(into.pool, "frame_from_nv12", height * width, *given)


def towards(old: DeviceArray, new: DeviceArray, share: float) -> DeviceArray:
    """old + (new - old) * share, f32 of one shape: a running mean, moved by `share` of the way to what is new.

    Raises ValueError for arrays of two sizes.
    """
    _same_size(old, new)
    moved = old.pool.empty(old.shape)
    _launch(old.pool, "towards", old.size, old, new, np.float32(share), moved, old.size)
    return moved


def class_activation(
    method: str, maps: DeviceArray, gradient: DeviceArray, usual: DeviceArray | None = None
) -> DeviceArray:
    """The heat maps f32 [n, h, w] of one of `METHODS`, as the function of that name in `whycam.explain.cams`.

    Of maps f32 [n, C, h, w], less the `usual` ones f32 [C, h, w], and the gradient of the target by them, f32
    [n, C, h, w]. Raises ValueError where the sizes differ.
    """
    _same_size(maps, gradient)
    _same_size(maps[0], usual)
    if method in _LEAST:
        return _heat_maps(METHODS[method], maps, usual, gradient, _LEAST[method])
    count, channels, height, width = maps.shape
    weights = maps.pool.empty((count, channels))
    sizes = weights.size, channels, height * width
    _launch(maps.pool, METHODS[method], weights.size, maps, usual, gradient, weights, *sizes)
    return _heat_maps("weighed_maps", maps, usual, weights)


def frame_dots(features: DeviceArray, gradient: DeviceArray, resting: DeviceArray | None = None) -> NDArray[np.float32]:
    """Gradient times input, summed over each frame's features: the f32 [T] of `whycam.explain.time.relevance`.

    Of features and the gradient of the target by them, both f32 [T, F]; the input is what differs from `resting`
    f32 [F]. Raises ValueError where the sizes differ.
    """
    _same_size(features, gradient)
    _same_size(features[0], resting)
    parts = features.pool.empty((len(features), _PARTS))
    sizes = parts.size, _PARTS, features.shape[1]
    _launch(features.pool, "frame_dots", parts.size, features, gradient, resting, parts, *sizes)
    dots: NDArray[np.float32] = np.asarray(parts).sum(axis=1)
    return dots


def windows_of_one(features: DeviceArray, resting: DeviceArray | None = None, *, keep: bool) -> DeviceArray:
    """f32 [T + 1, T, F], as `whycam.explain.inquiry.Inquiry.windows_of_one`, of features f32 [T, F].

    `resting` f32 [F] takes the place of what is left out, by default 0. Raises ValueError where the sizes differ.
    """
    _same_size(features[0], resting)
    frames, length = features.shape
    windows = features.pool.empty((frames + 1, frames, length))
    given = features, resting, int(keep), windows, windows.size, frames, length
    _launch(features.pool, "windows_of_one", windows.size, *given)
    return windows


def _heat_maps(
    kernel: str, maps: DeviceArray, usual: DeviceArray | None, *weights: DeviceArray | np.float32
) -> DeviceArray:
    count, channels, height, width = maps.shape
    heat = maps.pool.empty((count, height, width))
    _launch(maps.pool, kernel, heat.size, maps, usual, *weights, heat, heat.size, channels, height * width)
    return heat


def _launch(pool: Pool, kernel: str, threads: int, *arguments: DeviceArray | np.float32 | int | None) -> None:
    given = [np.int32(each) if isinstance(each, int) else each for each in arguments]
    pool.device.launch(kernel, threads, *given)


def _pixels(image: DeviceArray) -> tuple[int, int]:
    height, width, channels = image.shape
    if channels != 3:
        raise ValueError(f"{list(image.shape)} is no BGR image")
    return height, width


def _within(crop: Crop, width: int, height: int) -> None:
    x, y, crop_width, crop_height = crop
    if min(x, y, crop_width - 1, crop_height - 1) < 0 or x + crop_width > width or y + crop_height > height:
        raise ValueError(f"a crop of {crop_width} x {crop_height} at {x}, {y}, in a frame of {width} x {height}")


def _same_size(array: DeviceArray, other: DeviceArray | None) -> None:
    if other is not None and array.size != other.size:
        raise ValueError(f"{list(other.shape)} beside {list(array.shape)}")
