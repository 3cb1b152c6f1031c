"""The paper's network: VGG19 on each frame, a GRU over the frames, dense layers, softmax.

F. Poirier, "From CNN to CNN + RNN: Adapting Visualization Techniques for Time-Series Anomaly Detection", 2024
(arXiv 2411.04707): 20 frames of 112 x 112, GRU 1024, dense 1024/512/128, each with dropout 0.5 and L2 0.01.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt

from whycam_export.attention import SpatialAttention, TemporalAttention
from whycam_export.errors import TrainingError

Pooling = Literal["flatten", "average"]

BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))
"""Convolutions and channels of VGG19's blocks (Simonyan & Zisserman 2015, configuration E)."""
CAFFE_MEAN = (103.939, 116.779, 123.68)
"""ImageNet's mean in BGR, which VGG's input has subtracted ("caffe mode" in keras.applications)."""
ATTENTION_UNITS = 32
"""Width of the layer that scores what attention weighs."""
SMALLEST_SIDE = 2 ** len(BLOCKS)
LARGEST_SIDE = 1024


@dataclass(frozen=True)
class Architecture:
    """The shape of the network; the defaults are the paper's."""

    size: tuple[int, int] = (112, 112)
    """Height and width of a frame, in pixels."""
    frames: int = 20
    """T: frames of a window."""
    pooling: Pooling = "flatten"
    """How a frame's maps become its features; the paper does not say."""
    units: int = 1024
    """Width of the GRU."""
    dense: tuple[int, ...] = (1024, 512, 128)
    """Widths of the dense layers."""
    dropout: float = 0.5
    l2: float = 0.01
    width: float = 1.0
    """Factor on VGG19's channels; below 1 the backbone is thinner."""
    attention: bool = False
    """Whether attention pools the places of a frame, in place of `pooling`, and the states of the GRU."""

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise TrainingError(f"--frames {self.frames}: a window needs at least 2 frames")
        if self.pooling not in ("flatten", "average"):
            raise TrainingError(f"--pooling {self.pooling}: choose flatten or average")
        if self.units < 1:
            raise TrainingError(f"--units {self.units}: the GRU needs at least 1 unit")
        if any(width < 1 for width in self.dense):
            raise TrainingError(f"--dense {','.join(map(str, self.dense))}: each layer needs at least 1 unit")
        if not 0 <= self.dropout < 1:
            raise TrainingError(f"--dropout {self.dropout:g}: must be at least 0 and below 1")
        if not self.l2 >= 0:
            raise TrainingError(f"--l2 {self.l2:g}: must not be negative")
        check_size(self.size)
        channels(self.width)


def check_size(size: tuple[int, int]) -> None:
    """Raise TrainingError where VGG19 cannot take frames of `size` (height, width)."""
    height, width = size
    if not (SMALLEST_SIDE <= height <= LARGEST_SIDE and SMALLEST_SIDE <= width <= LARGEST_SIDE):
        raise TrainingError(
            f"--size {height}x{width}: VGG19 halves the frame {len(BLOCKS)} times; "
            f"give sides of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels"
        )


def channels(width: float) -> tuple[int, ...]:
    """Channels of VGG19's five blocks, scaled by `width`; TrainingError for a width outside 0 to 4."""
    if not (math.isfinite(width) and 0 < width <= 4):
        raise TrainingError(
            f"--width {width:g}: must be above 0 and at most 4 (1 is VGG19, 0.25 a quarter of its channels)"
        )
    return tuple(max(1, round(count * width)) for _, count in BLOCKS)


def preprocess(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Frames uint8 [..., 3] BGR as the network takes them: f32 [..., 3], less the mean."""
    return frames.astype(np.float32) - np.asarray(CAFFE_MEAN, dtype=np.float32)


def vgg19(size: int | tuple[int, int], width: float = 1.0) -> Any:
    """VGG19 without its top, as a functional Keras model with random weights.

    Takes f32 [N, H, W, 3] in caffe mode (BGR minus the ImageNet mean) and gives f32 [N, H // 32, W // 32, C].
    `size` is the side of a square frame or (height, width), in pixels; layers carry Keras's names, `block1_conv1` to
    `block5_pool`. Raises TrainingError for an impossible size or width.
    """
    size = (size, size) if isinstance(size, int) else size
    check_size(size)
    maps = frame = keras.Input((*size, 3), name="frame")
    for block, ((convolutions, _), filters) in enumerate(zip(BLOCKS, channels(width), strict=True), start=1):
        for index in range(1, convolutions + 1):
            maps = keras.layers.Conv2D(
                filters,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=f"block{block}_conv{index}",
            )(maps)
        maps = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(maps)
    return keras.Model(frame, maps, name="vgg19")


def paper_network(classes: int, architecture: Architecture | None = None, backbone: Any = None) -> Any:
    """The whole network: f32 [N, T, H, W, 3], preprocessed in caffe mode, to softmax scores f32 [N, classes].

    `backbone` is the per-frame model, by default a fresh `vgg19`; it becomes part of the network, not a copy.
    """
    shape = architecture or Architecture()
    if backbone is None:
        backbone = vgg19(shape.size, shape.width)
    if shape.attention:
        pool = SpatialAttention(ATTENTION_UNITS)
    else:
        pool = keras.layers.Flatten() if shape.pooling == "flatten" else keras.layers.GlobalAveragePooling2D()
    window = keras.Input((shape.frames, *shape.size, 3), name="window")
    values = keras.layers.TimeDistributed(backbone, name="backbone")(window)
    values = keras.layers.TimeDistributed(pool, name="pooling")(values)
    for layer in head_layers(classes, shape):
        values = layer(values)
    return keras.Model(window, values, name="whycam")


def head_layers(classes: int, shape: Architecture) -> list[Any]:
    """The layers after the pooling, in order: `gru`, perhaps `attention`, `dense_1`, `dropout_1`, ..., `scores`."""
    layers = [keras.layers.GRU(shape.units, return_sequences=shape.attention, name="gru")]
    if shape.attention:
        layers.append(TemporalAttention(ATTENTION_UNITS, name="attention"))
    for index, width in enumerate(shape.dense, start=1):
        layers.append(
            keras.layers.Dense(
                width, activation="relu", kernel_regularizer=keras.regularizers.L2(shape.l2), name=f"dense_{index}"
            )
        )
        layers.append(keras.layers.Dropout(shape.dropout, name=f"dropout_{index}"))
    layers.append(keras.layers.Dense(classes, activation="softmax", name="scores"))
    return layers
