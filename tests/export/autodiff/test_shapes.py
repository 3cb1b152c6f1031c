"""Each rule that takes any shape against TensorFlow's GradientTape, on random shapes; `test_tape` has whole layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from onnx import helper

from tests.export.autodiff.graphs import Array, graph, handed_down

RANDOM = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)
SEEDS = st.integers(0, 2**16)

Shape = tuple[int, ...]


def agrees(nodes: list[Any], x: Array, constants: dict[str, Array], call: Callable[[Any], Any]) -> None:
    """The gradient of the graph of `nodes` from `x` to `y` is that of `call`, relative to its largest element."""
    x = x.astype(np.float32)
    with tf.GradientTape() as tape:
        watched = tf.constant(x)
        tape.watch(watched)
        y = call(watched)
        vector = np.random.default_rng(0).normal(size=y.shape).astype(np.float32)
        value = tf.reduce_sum(y * vector)
    expected = tape.gradient(value, watched).numpy()
    found = handed_down(graph(nodes, x.shape, constants), x, vector, "gradient")
    assert found.shape == x.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(float(np.abs(expected).max()), 1e-3))


def node(op: str, inputs: str = "x", output: str = "y", **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), output.split(), **attributes)


ONE_TO_ONE: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "Abs": (node("Abs"), tf.abs),
    "Elu": (node("Elu"), tf.nn.elu),
    "Erf": (node("Erf"), tf.math.erf),
    "Exp": (node("Exp"), tf.exp),
    "Gelu": (node("Gelu"), keras.activations.gelu),
    "HardSigmoid": (node("HardSigmoid", alpha=1 / 6, beta=0.5), keras.activations.hard_sigmoid),
    "HardSwish": (node("HardSwish"), keras.activations.hard_silu),
    "LeakyRelu": (node("LeakyRelu", alpha=0.2), keras.activations.leaky_relu),
    "Neg": (node("Neg"), tf.negative),
    "Relu": (node("Relu"), tf.nn.relu),
    "Selu": (node("Selu"), tf.nn.selu),
    "Sigmoid": (node("Sigmoid"), tf.sigmoid),
    "Softplus": (node("Softplus"), tf.math.softplus),
    "Softsign": (node("Softsign"), tf.nn.softsign),
    "Tanh": (node("Tanh"), tf.tanh),
}


@pytest.mark.parametrize("op", ONE_TO_ONE)
@RANDOM
@given(shape=SHAPES, seed=SEEDS)
def test_one_to_one(op: str, shape: Shape, seed: int) -> None:
    made, call = ONE_TO_ONE[op]
    agrees([made], 2 * np.random.default_rng(seed).normal(size=shape), {}, call)


POSITIVE: dict[str, tuple[list[Any], dict[str, Array], Callable[[Any], Any]]] = {
    "Clip": (
        [node("Clip", "x low high")],
        {"low": np.array(0.8), "high": np.array(1.5)},
        lambda x: tf.clip_by_value(x, 0.8, 1.5),
    ),
    "Log": ([node("Log")], {}, tf.math.log),
    "Pow": ([node("Pow", "x p")], {"p": np.array(2.5)}, lambda x: x**2.5),
    "Reciprocal": ([node("Reciprocal")], {}, tf.math.reciprocal),
    "Sqrt": ([node("Sqrt")], {}, tf.sqrt),
}


@pytest.mark.parametrize("op", POSITIVE)
@RANDOM
@given(shape=SHAPES, seed=SEEDS)
def test_one_to_one_above_zero(op: str, shape: Shape, seed: int) -> None:
    nodes, constants, call = POSITIVE[op]
    agrees(nodes, np.random.default_rng(seed).uniform(0.5, 2, shape), constants, call)


OF_TWO: dict[str, Callable[[Any, Any], Any]] = {
    "Add": tf.add,
    "Div": tf.divide,
    "Max": tf.maximum,
    "Min": tf.minimum,
    "Mul": tf.multiply,
    "Sub": tf.subtract,
}


@pytest.mark.parametrize("op", OF_TWO)
@RANDOM
@given(shape=SHAPES, seed=SEEDS, first=st.booleans(), lead=st.integers(0, 2))
def test_two_operands_of_different_shapes(op: str, shape: Shape, seed: int, first: bool, lead: int) -> None:
    """Each is repeated along other axes, and the constant may have more or fewer of them."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, 3, len(shape))
    own = tuple(1 if kind == 0 else size for kind, size in zip(which, shape, strict=True))
    other = tuple(1 if kind == 1 else size for kind, size in zip(which, shape, strict=True))
    other = (3,) * lead + other if lead else other[rng.integers(0, len(shape)) :]
    x, c = rng.uniform(0.5, 2, own), rng.uniform(0.5, 2, other).astype(np.float32)
    call = OF_TWO[op]
    agrees([node(op, "x c" if first else "c x")], x, {"c": c}, lambda v: call(v, c) if first else call(c, v))


@RANDOM
@given(shape=SHAPES, seed=SEEDS, first=st.booleans())
def test_where(shape: Shape, seed: int, first: bool) -> None:
    rng = np.random.default_rng(seed)
    mask, other = rng.random((2, *shape)) > 0.5, rng.normal(size=shape).astype(np.float32)
    agrees(
        [node("Where", "m x o" if first else "m o x")],
        rng.normal(size=(*shape[:-1], 1)),
        {"m": mask, "o": other},
        lambda x: tf.where(mask, x, other) if first else tf.where(mask, other, x),
    )


@RANDOM
@given(shape=SHAPES, seed=SEEDS)
def test_softmax(shape: Shape, seed: int) -> None:
    axis = seed % len(shape)
    x = np.random.default_rng(seed).normal(size=shape)
    agrees([node("Softmax", axis=axis)], x, {}, lambda v: tf.nn.softmax(v, axis))


@RANDOM
@given(shape=SHAPES, seed=SEEDS)
def test_elements_moved(shape: Shape, seed: int) -> None:
    """Transposed, flattened, with an axis more and one less."""
    rng = np.random.default_rng(seed)
    x, perm, place = rng.normal(size=shape), rng.permutation(len(shape)), int(rng.integers(0, len(shape) + 1))
    weights = rng.normal(size=x.size).astype(np.float32)
    nodes = [
        node("Transpose", "x", "t", perm=perm),
        node("Unsqueeze", "t a", "u"),
        node("Squeeze", "u a", "s"),
        node("Flatten", "s", "f", axis=0),
        node("Mul", "f w", "m"),
        node("Reshape", "m shape", "y"),
    ]
    constants = {"a": np.array([place]), "w": weights, "shape": np.array([*shape[::-1]])}
    agrees(nodes, x, constants, lambda v: tf.reshape(tf.reshape(tf.transpose(v, perm), [-1]) * weights, shape[::-1]))


@RANDOM
@given(shape=SHAPES, seed=SEEDS, parts=st.integers(1, 3))
def test_split_and_concat(shape: Shape, seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    axis = int(rng.integers(0, len(shape)))
    sizes = rng.integers(1, 4, parts)
    names = [f"p{index}" for index in range(parts)]
    x = rng.normal(size=(*shape[:axis], int(sizes.sum()), *shape[axis + 1 :]))
    nodes = [
        node("Split", "x sizes", " ".join(names), axis=axis),
        node("Tanh", names[0], "t"),
        node("Concat", " ".join([*names[1:], "t"]), "y", axis=axis),
    ]

    def call(v: Any) -> Any:
        first, *rest = tf.split(v, sizes, axis)
        return tf.concat([*rest, tf.tanh(first)], axis)

    agrees(nodes, x, {"sizes": sizes}, call)


@RANDOM
@given(shape=SHAPES, seed=SEEDS)
def test_elements_repeated_and_picked(shape: Shape, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pads, times = rng.integers(0, 3, (len(shape), 2)), rng.integers(1, 3, len(shape))
    axis = int(rng.integers(0, len(shape)))
    size = int((shape[axis] + pads[axis].sum()) * times[axis])
    picked = rng.integers(-size, size, int(rng.integers(1, 5)))
    nodes = [node("Pad", "x pads", "p"), node("Tile", "p times", "t"), node("Gather", "t picked", "y", axis=axis)]
    constants = {"pads": pads.T.ravel(), "times": times, "picked": picked}

    def call(v: Any) -> Any:
        return tf.gather(tf.tile(tf.pad(v, pads), times), picked % size, axis=axis)

    agrees(nodes, rng.normal(size=shape), constants, call)


@RANDOM
@given(shape=SHAPES, seed=SEEDS, lead=st.integers(0, 2))
def test_expand(shape: Shape, seed: int, lead: int) -> None:
    rng = np.random.default_rng(seed)
    own = tuple(1 if rng.random() < 0.5 else size for size in shape)
    wide = np.array([2] * lead + list(shape))
    agrees([node("Expand", "x wide")], rng.normal(size=own), {"wide": wide}, lambda v: tf.broadcast_to(v, wide))


@RANDOM
@given(sizes=st.tuples(*[st.integers(1, 5)] * 3), stack=st.sampled_from(["neither", "x", "w", "both"]), seed=SEEDS)
def test_matrix_product(sizes: tuple[int, int, int], stack: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, k, n = sizes
    x = rng.normal(size=(*((2, 3) if stack in ("x", "both") else ()), m, k))
    w = rng.normal(size=(*((3,) if stack in ("w", "both") else ()), k, n)).astype(np.float32)
    agrees([node("MatMul", "x w")], x, {"w": w}, lambda v: tf.matmul(v, w))
    turned = np.swapaxes(w, -1, -2)
    agrees([node("MatMul", "w x")], np.swapaxes(x, -1, -2), {"w": turned}, lambda v: tf.matmul(turned, v))


@RANDOM
@given(sizes=st.tuples(*[st.integers(1, 5)] * 3), turned=st.tuples(st.booleans(), st.booleans()), seed=SEEDS)
def test_gemm(sizes: tuple[int, int, int], turned: tuple[bool, bool], seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, k, n = sizes
    x = rng.normal(size=(k, m) if turned[0] else (m, k))
    w = rng.normal(size=(n, k) if turned[1] else (k, n)).astype(np.float32)
    b = rng.normal(size=n).astype(np.float32)
    made = node("Gemm", "x w b", alpha=0.5, beta=2.0, transA=int(turned[0]), transB=int(turned[1]))
    agrees([made], x, {"w": w, "b": b}, lambda v: 0.5 * tf.matmul(v, w, turned[0], turned[1]) + 2 * b)


@RANDOM
@given(size=st.tuples(st.integers(4, 9), st.integers(4, 9)), groups=st.integers(1, 3), stride=st.integers(1, 3))
def test_convolution_in_groups(size: tuple[int, int], groups: int, stride: int) -> None:
    rng = np.random.default_rng(groups)
    w = rng.normal(size=(2 * groups, 3, 2, 3)).astype(np.float32)  # [M, C/groups, k, l]
    pads = [1, 0, 2, 1]  # before both axes, then after both
    made = node("Conv", "x w", group=groups, strides=[stride, stride], pads=pads)

    def call(v: Any) -> Any:
        padded = tf.pad(v, [[0, 0], [0, 0], pads[::2], pads[1::2]])
        parts = zip(tf.split(padded, groups, 1), np.split(w, groups), strict=True)
        # TensorFlow's CPU convolves [N,h,w,C] alone.
        results = [
            tf.nn.conv2d(tf.transpose(part, [0, 2, 3, 1]), kernel.transpose(2, 3, 1, 0), stride, "VALID")
            for part, kernel in parts
        ]
        return tf.transpose(tf.concat(results, 3), [0, 3, 1, 2])

    agrees([made], rng.normal(size=(2, 3 * groups, *size)), {"w": w}, call)


@RANDOM
@given(shape=st.tuples(*[st.integers(1, 6)] * 4))
def test_global_pools(shape: Shape) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    agrees([node("GlobalAveragePool")], x, {}, lambda v: tf.reduce_mean(v, (2, 3), keepdims=True))
    agrees([node("GlobalMaxPool")], x, {}, lambda v: tf.reduce_max(v, (2, 3), keepdims=True))
