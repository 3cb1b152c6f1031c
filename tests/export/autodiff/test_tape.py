"""The rules against TensorFlow's GradientTape on random shapes; layers are converted by tf2onnx."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from keras import layers

from tests.export.autodiff.graphs import run
from whycam_export.autodiff import differentiate
from whycam_export.convert.head import gradient_graph, read_head
from whycam_export.convert.tensorflow_onnx import to_onnx

SHAPES = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
"""Converting takes half a second, so the examples are few; they are the same in each run."""

KERNELS = st.tuples(st.integers(1, 4), st.integers(1, 4))
SIZES = st.tuples(st.integers(6, 11), st.integers(6, 11))
PADDINGS = st.sampled_from(["same", "valid"])


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """Each run draws the same weights."""
    keras.utils.set_random_seed(0)


def agrees(shape: tuple[int, ...], call: Callable[[Any], Any], seed: int = 0) -> None:
    """The gradient of `call` on x [2, *shape] agrees with GradientTape's, relative to its largest element."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, call(inputs))
    rng = np.random.default_rng(seed)
    model.set_weights([w + 0.2 * np.abs(rng.normal(size=w.shape)) for w in model.get_weights()])
    x = rng.normal(size=(2, *shape)).astype(np.float32)
    with tf.GradientTape() as tape:
        watched = tf.constant(x)
        tape.watch(watched)
        y = model(watched, training=False)
        vector = rng.normal(size=y.shape).astype(np.float32)
        value = tf.reduce_sum(y * vector)
    expected = tape.gradient(value, watched).numpy()
    pictures_in, pictures_out = x.ndim == 4, vector.ndim == 4
    found = run(
        differentiate(to_onnx(model, "x", "y"), ["y"], ["x"]),
        x=x.transpose(0, 3, 1, 2) if pictures_in else x,
        grad_y=vector.transpose(0, 3, 1, 2) if pictures_out else vector,
    )["grad_x"]
    found = found.transpose(0, 2, 3, 1) if pictures_in else found
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(float(np.abs(expected).max()), 1e-3))


@SHAPES
@given(size=SIZES, kernel=KERNELS, stride=st.integers(1, 3), padding=PADDINGS)
def test_convolution(size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: str) -> None:
    agrees((*size, 4), layers.Conv2D(5, kernel, stride, padding, activation="relu"))


@SHAPES
@given(size=SIZES, kernel=KERNELS, dilation=st.integers(2, 3), padding=PADDINGS)
def test_dilated_convolution(size: tuple[int, int], kernel: tuple[int, int], dilation: int, padding: str) -> None:
    reach = [min(side, (length - 1) // dilation + 1) for side, length in zip(kernel, size, strict=True)]
    agrees((*size, 3), layers.Conv2D(5, reach, 1, padding, dilation_rate=dilation))


@SHAPES
@given(size=SIZES, kernel=KERNELS, stride=st.integers(1, 2), padding=PADDINGS, depth=st.integers(1, 2))
def test_depthwise_convolution(
    size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: str, depth: int
) -> None:
    agrees((*size, 3), layers.DepthwiseConv2D(kernel, stride, padding, depth_multiplier=depth, activation="relu6"))


@SHAPES
@given(size=SIZES, kernel=KERNELS, stride=st.integers(1, 4), padding=PADDINGS, tiled=st.booleans())
def test_pooling(size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: str, tiled: bool) -> None:
    for pool in (layers.MaxPooling2D, layers.AveragePooling2D):
        agrees((*size, 3), pool(kernel, None if tiled else stride, padding))


@SHAPES
@given(rank=st.integers(1, 3), units=st.integers(1, 6), how=st.sampled_from(["silu", "elu", "selu", "softmax"]))
def test_dense(rank: int, units: int, how: str) -> None:
    agrees((5, 4, 3)[-rank:], lambda x: layers.Dense(2)(layers.Dense(units, activation=how)(x)))


@SHAPES
@given(
    size=SIZES,
    axes=st.sampled_from([(1,), (2, 3), (3,), (1, 2, 3)]),
    keep=st.booleans(),
    how=st.sampled_from([keras.ops.mean, keras.ops.sum, keras.ops.max, keras.ops.min, keras.ops.norm]),
)
def test_reduction(size: tuple[int, int], axes: tuple[int, ...], keep: bool, how: Callable[..., Any]) -> None:
    over = axes[:2] if how is keras.ops.norm else axes

    def call(x: Any) -> Any:
        if how is keras.ops.norm:
            return keras.ops.sqrt(keras.ops.sum(x * x, over, keepdims=keep))
        return how(x, over, keepdims=keep)

    agrees((*size, 3), call)


@SHAPES
@given(size=SIZES, start=st.integers(0, 3), step=st.integers(1, 3), back=st.booleans())
def test_slices_and_concatenation(size: tuple[int, int], start: int, step: int, back: bool) -> None:
    def call(x: Any) -> Any:
        part = x[:, start::step, ::-1] if back else x[:, start::step]
        return keras.ops.concatenate([part, keras.ops.tanh(part[..., 1:])], -1)

    agrees((*size, 3), call)


@SHAPES
@given(size=SIZES, factor=st.tuples(st.integers(1, 3), st.integers(1, 3)), how=st.sampled_from(["nearest", "bilinear"]))
def test_resizing(size: tuple[int, int], factor: tuple[int, int], how: str) -> None:
    agrees((*size, 2), layers.UpSampling2D(factor, interpolation=how))


@SHAPES
@given(size=SIZES, axis=st.sampled_from([-1, (2, 3)]), center=st.booleans())
def test_normalisation(size: tuple[int, int], axis: Any, center: bool) -> None:
    agrees((*size, 4), lambda x: layers.LayerNormalization(axis, center=center)(layers.BatchNormalization()(x)))
    agrees((*size, 4), layers.GroupNormalization(2, center=center))


@SHAPES
@given(frames=st.integers(2, 5), features=st.integers(1, 6), units=st.integers(1, 5))
def test_attention_pooling(frames: int, features: int, units: int) -> None:
    def call(x: Any) -> Any:
        weights = layers.Softmax(1)(layers.Dense(1)(layers.Dense(units, activation="tanh")(x)))
        return keras.ops.sum(weights * x, 1)

    agrees((frames, features), call)


@settings(SHAPES, max_examples=25)
@given(
    frames=st.integers(1, 4),
    features=st.integers(1, 5),
    units=st.integers(1, 5),
    kind=st.sampled_from([layers.GRU, layers.LSTM]),
    inner=st.sampled_from(["tanh", "relu", "softsign", "elu", "linear"]),
    gate=st.sampled_from(["sigmoid", "hard_sigmoid"]),
    options=st.fixed_dictionaries({"use_bias": st.booleans(), "return_sequences": st.booleans()}),
    backwards=st.booleans(),
    after=st.booleans(),
    merge=st.sampled_from([None, "concat", "sum", "mul", "ave"]),
)
def test_recurrent_heads(
    frames: int,
    features: int,
    units: int,
    kind: Any,
    inner: str,
    gate: str,
    options: dict[str, bool],
    backwards: bool,
    after: bool,
    merge: str | None,
) -> None:
    reset = {"reset_after": after} if kind is layers.GRU else {}
    way = {"go_backwards": backwards} if merge is None else {}
    layer = kind(units, activation=inner, recurrent_activation=gate, **options, **reset, **way)
    layer = layer if merge is None else layers.Bidirectional(layer, merge_mode=merge)
    pooled = [layers.GlobalAveragePooling1D()] if options["return_sequences"] else []
    model = keras.Sequential([keras.Input((frames, features)), layer, *pooled, layers.Dense(3)])
    rng = np.random.default_rng(0)
    model.set_weights([w + 0.2 * rng.normal(size=w.shape) for w in model.get_weights()])
    x, target = rng.normal(size=(frames, features)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    with tf.GradientTape() as tape:
        watched = tf.constant(x[None])
        tape.watch(watched)
        value = tf.reduce_sum(model(watched) * target)
    expected = tape.gradient(value, watched).numpy()[0]
    graph = gradient_graph(read_head(model.layers, frames, features))
    found = run(graph, window=x, target=target)["feature_gradient"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(float(np.abs(expected).max()), 1e-3))
