"""The rule books besides the gradient: guided, excitation, contrastive excitation, LRP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from tests.export.autodiff.graphs import Array, graph, handed_down, run
from whycam_export.autodiff import DifferentiationError, differentiate
from whycam_export.autodiff.rulebooks import BOOKS
from whycam_export.convert.graph import GraphBuilder, float_input
from whycam_export.convert.head import read_head

RNG = np.random.default_rng(7)
SHARING = ["excitation", "lrp", "lrp-z-plus"]


def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), output.split(), name=output, **attributes)


def normal(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def positive(*shape: int) -> Array:
    return np.abs(normal(*shape)) + 0.1


# --- guided ---


def test_guided_backpropagation_is_a_custom_gradient_of_relu() -> None:
    @tf.custom_gradient
    def guided_relu(x: Any) -> Any:
        y = tf.nn.relu(x)
        return y, lambda dy: dy * tf.cast(y > 0, dy.dtype) * tf.cast(dy > 0, dy.dtype)

    x, v, a, b = normal(3, 6), normal(3, 4), normal(6, 5), normal(5, 4)
    with tf.GradientTape() as tape:
        inputs = tf.constant(x)
        tape.watch(inputs)
        value = tf.reduce_sum(guided_relu(guided_relu(inputs @ a) @ b) * v)
    nodes = [node("MatMul", "x a", "p"), node("Relu", "p", "q"), node("MatMul", "q b", "r"), node("Relu", "r", "y")]
    found = handed_down(graph(nodes, (3, 6), {"a": a, "b": b}), x, v, "guided")
    np.testing.assert_allclose(found, tape.gradient(value, inputs), atol=1e-6)


@pytest.mark.parametrize(
    ("rectifier", "passes"),
    [
        (node("Relu", "x", "y"), [0, 0, 1, 1]),
        (node("LeakyRelu", "x", "y", alpha=0.1), [0, 0, 1, 1]),
        (node("PRelu", "x s", "y"), [0, 0, 1, 1]),
        (node("Clip", "x zero six", "y"), [0, 0, 1, 0]),
        (node("Tanh", "x", "y"), None),
        (node("Clip", "x minus six", "y"), None),
    ],
)
def test_only_a_rectifier_guides(rectifier: Any, passes: list[int] | None) -> None:
    x, v = np.array([[-9.0, -1, 2, 7]]), np.array([[1.0, 1, 1, 1]])
    numbers = {"zero": np.array(0.0), "six": np.array(6.0), "minus": np.array(-2.0), "s": np.array([0.1])}
    used = {name: numbers[name] for name in rectifier.input if name in numbers}
    model = graph([rectifier], (1, 4), used)
    if passes is None:
        np.testing.assert_array_equal(handed_down(model, x, -v, "guided"), handed_down(model, x, -v, "gradient"))
    else:
        np.testing.assert_array_equal(handed_down(model, x, v, "guided"), [passes])
        np.testing.assert_array_equal(handed_down(model, x, -v, "guided"), np.zeros((1, 4)))


# --- excitation ---


def winning(x: Array, w: Array, p: Array) -> Array:
    """Zhang et al. (2016), equation 5, for one layer of non-negative activations, by loops."""
    shared = np.zeros(x.shape)
    for n in range(len(x)):
        for j in range(w.shape[1]):
            z = sum(x[n, i] * max(w[i, j], 0) for i in range(len(w)))
            for i in range(len(w)):
                shared[n, i] += x[n, i] * max(w[i, j], 0) / z * p[n, j] if z > 0 else 0.0
    return shared


def test_excitation_is_zhangs_equation_layer_by_layer() -> None:
    x, p, a, b = positive(2, 5), positive(2, 3), normal(5, 6), normal(6, 3)
    nodes = [node("MatMul", "x a", "h"), node("Relu", "h", "r"), node("MatMul", "r b", "z"), node("Relu", "z", "y")]
    hidden = np.maximum(x @ a, 0)
    expected = winning(x, a, winning(hidden, b, p))
    model = graph([node("Relu", "x", "x0"), *renamed(nodes)], (2, 5), {"a": a, "b": b})
    np.testing.assert_allclose(handed_down(model, x, p, "excitation"), expected, rtol=1e-4, atol=1e-6)


def renamed(nodes: list[Any]) -> list[Any]:
    """Reading x0, a rectified x, so that the graph shows that it is not negative."""
    for made in nodes:
        made.input[:] = ["x0" if name == "x" else name for name in made.input]
    return nodes


def test_the_topmost_layer_is_one_neuron_of_the_vectors_weights() -> None:
    x, w, b, t = positive(1, 20), normal(20, 3), normal(3), np.array([[1.0, 0, -1]])
    model = graph([node("Gemm", "x w b", "y")], (1, 20), {"w": w, "b": b})
    neuron = x * (w @ t[0])
    expected = np.maximum(neuron, 0) / np.maximum(neuron, 0).sum()
    np.testing.assert_allclose(handed_down(model, x, t, "excitation"), expected, rtol=1e-5)
    against = np.maximum(-neuron, 0) / np.maximum(-neuron, 0).sum()
    found = handed_down(model, x, t, "contrastive-excitation")
    np.testing.assert_allclose(found, expected - against, rtol=1e-5)
    assert found.sum() == pytest.approx(0, abs=1e-6)


def test_the_top_of_a_single_logit_is_read_through_its_negative() -> None:
    x, w = normal(1, 4), normal(4, 1)
    single = graph(
        [node("MatMul", "x w", "z"), node("Neg", "z", "n"), node("Concat", "n z", "y", axis=1)], (1, 4), {"w": w}
    )
    both = graph([node("MatMul", "x w", "y")], (1, 4), {"w": np.concatenate([-w, w], axis=1)})
    for t in ([[0.0, 1]], [[1.0, 0]], [[-1.0, 1]]):
        for book in ("excitation", "contrastive-excitation"):
            expected = handed_down(both, x, np.array(t), book)
            np.testing.assert_allclose(handed_down(single, x, np.array(t), book), expected, rtol=1e-5, atol=1e-7)


def test_a_continued_graph_shares_out_what_it_is_given() -> None:
    x, w, p = positive(2, 4), positive(4, 3), positive(2, 3)
    model = graph([node("MatMul", "x w", "y")], (2, 4), {"w": w})
    found = handed_down(model, x, p, "excitation", continued=True)
    np.testing.assert_allclose(found, winning(x, w, p), rtol=1e-5)


def test_a_contrast_without_a_linear_layer_at_the_top_is_refused() -> None:
    model = graph([node("MatMul", "x w", "z"), node("Softmax", "z", "y")], (1, 4), {"w": normal(4, 3)})
    with pytest.raises(DifferentiationError, match="y: no linear layer to contrast by; name the logits"):
        differentiate(model, ["y"], ["x"], "contrastive-excitation")


def test_of_a_negative_state_those_win_that_drove_it_down() -> None:
    x, w, top = np.array([[2.0, 3, 1]]), np.array([[-1.0], [0.5], [-2]]), np.array([[-1.0]])
    model = graph(
        [node("MatMul", "x w", "z"), node("Tanh", "z", "h"), node("MatMul", "h t", "y")], (1, 3), {"w": w, "t": top}
    )
    found = handed_down(model, x, np.ones((1, 1)), "excitation")
    np.testing.assert_allclose(found, [[0.5, 0, 0.5]], rtol=1e-5)


def test_a_gate_gets_nothing_and_its_signal_all() -> None:
    nodes = [
        node("Split", "x", "g s", axis=1, num_outputs=2),
        node("Sigmoid", "g", "gate"),
        node("Sub", "one gate", "rest"),
        node("Tanh", "s", "signal"),
        node("Mul", "rest signal", "y"),
    ]
    model = graph(nodes, (2, 6), {"one": np.array(1.0)})
    p = positive(2, 3)
    for book in SHARING:
        np.testing.assert_allclose(
            handed_down(model, normal(2, 6), p, book), np.concatenate([np.zeros((2, 3)), p], axis=1), rtol=1e-6
        )


def test_two_signals_share_a_product() -> None:
    model = graph([node("Split", "x", "a b", axis=1, num_outputs=2), node("Mul", "a b", "y")], (1, 4), {})
    p = positive(1, 2)
    np.testing.assert_allclose(handed_down(model, normal(1, 4), p, "excitation"), np.tile(p / 2, 2))


# --- the mass ---

IMAGE = (2, 4, 8, 8)
KEEPING: dict[str, tuple[list[Any], tuple[int, ...], dict[str, Array]]] = {
    "conv": ([node("Conv", "x w", "y", pads=[1, 1, 1, 1])], IMAGE, {"w": normal(5, 4, 3, 3)}),
    "conv, stride, dilation": (
        [node("Conv", "x w", "y", strides=[2, 3], dilations=[2, 1], pads=[0, 1, 2, 1])],
        IMAGE,
        {"w": normal(5, 4, 3, 3)},
    ),
    "conv, groups": ([node("Conv", "x w", "y", group=2)], IMAGE, {"w": normal(6, 2, 3, 3)}),
    "conv, depthwise": ([node("Conv", "x w", "y", group=4, strides=[2, 2])], IMAGE, {"w": normal(4, 1, 3, 3)}),
    "dense": ([node("MatMul", "x w", "y")], (3, 6), {"w": normal(6, 4)}),
    "gemm": ([node("Gemm", "x w", "y", transB=1)], (3, 6), {"w": normal(4, 6)}),
    "average pool": ([node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], IMAGE, {}),
    "global average pool": ([node("GlobalAveragePool", "x", "y")], IMAGE, {}),
    "max pool": ([node("MaxPool", "x", "y", kernel_shape=[2, 2], strides=[2, 2])], IMAGE, {}),
    "mean": ([node("ReduceMean", "x axes", "y", keepdims=0)], IMAGE, {"axes": np.array([2, 3])}),
    "sum": ([node("ReduceSum", "x axes", "y", keepdims=1)], IMAGE, {"axes": np.array([1])}),
    "length": ([node("ReduceL2", "x axes", "y", keepdims=1)], IMAGE, {"axes": np.array([1])}),
    "resize": (
        [node("Resize", "x  scales", "y", mode="linear")],
        IMAGE,
        {"scales": np.array([1.0, 1, 2, 2], np.float32)},
    ),
    "skip": (
        [node("Conv", "x w", "c", pads=[1, 1, 1, 1]), node("Add", "c x", "y")],
        IMAGE,
        {"w": normal(4, 4, 3, 3)},
    ),
    "difference": ([node("Tanh", "x", "t"), node("Sub", "t x", "y")], IMAGE, {}),
    "concat": ([node("Tanh", "x", "t"), node("Concat", "t x", "y", axis=1)], IMAGE, {}),
    "batch normalisation": (
        [node("BatchNormalization", "x g b m v", "y")],
        IMAGE,
        {"g": normal(4), "b": normal(4), "m": normal(4), "v": positive(4)},
    ),
    "layer normalisation": ([node("LayerNormalization", "x g", "y", axis=-1)], (3, 6), {"g": normal(6)}),
    "silu": ([node("Sigmoid", "x", "s"), node("Mul", "x s", "y")], IMAGE, {}),
    "attention pooling": (
        [
            node("MatMul", "x w", "e"),
            node("Softmax", "e", "a", axis=1),
            node("Mul", "a x", "m"),
            node("ReduceSum", "m axes", "y", keepdims=0),
        ],
        (2, 5, 6),
        {"w": normal(6, 1), "axes": np.array([1])},
    ),
    "attention by a product": (
        [
            node("MatMul", "x w", "e"),
            node("Softmax", "e", "a", axis=1),
            node("Transpose", "a", "t", perm=[0, 2, 1]),
            node("MatMul", "t x", "y"),
        ],
        (2, 5, 6),
        {"w": normal(6, 1)},
    ),
}
KEEPING["resize"][0][0].input[:] = ["x", "", "scales"]


@pytest.mark.parametrize("book", SHARING)
@pytest.mark.parametrize("case", KEEPING)
def test_the_mass_that_arrives_is_handed_down(case: str, book: str) -> None:
    model = graph(*KEEPING[case])
    x = normal(*KEEPING[case][1])
    y = run(model, x=x)["y"]
    p = np.abs(normal(*y.shape))
    found = handed_down(model, x, p, book, **({"continued": True} if book == "excitation" else {}))
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(p.sum(), rel=1e-3)
    if book != "lrp":  # whose epsilon rule has a share against, too
        assert found.min() >= -1e-5 * p.max()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), stride=st.integers(1, 2), groups=st.sampled_from([1, 2, 4]), signed=st.booleans())
def test_a_convolution_never_gains_mass(seed: int, stride: int, groups: int, signed: bool) -> None:
    rng = np.random.default_rng(seed)
    nodes = [node("Conv", "x w b", "c", group=groups, strides=[stride, stride]), node("Relu", "c", "y")]
    constants = {"w": rng.normal(size=(8, 4 // groups, 3, 3)), "b": rng.normal(size=8)}
    x = rng.normal(size=IMAGE)
    model = graph(nodes, IMAGE, constants)
    x = x if signed else np.abs(x)
    p = np.abs(rng.normal(size=run(model, x=x.astype(np.float32))["y"].shape))
    found = handed_down(model, x, p, "excitation")
    assert found.min() >= 0
    assert found.sum() <= p.sum() * (1 + 1e-4)


HEADS: dict[str, Callable[[], list[Any]]] = {
    "GRU": lambda: [keras.layers.GRU(12), keras.layers.Dense(3)],
    "GRU, reset before": lambda: [keras.layers.GRU(12, reset_after=False), keras.layers.Dense(3)],
    "LSTM": lambda: [keras.layers.LSTM(12), keras.layers.Dense(24, activation="relu"), keras.layers.Dense(3)],
    "both directions": lambda: [keras.layers.Bidirectional(keras.layers.GRU(12)), keras.layers.Dense(3)],
    "average over time": lambda: [
        keras.layers.LSTM(12, return_sequences=True),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(3),
    ],
    "single sigmoid": lambda: [keras.layers.GRU(12), keras.layers.Dense(1, activation="sigmoid")],
}


@pytest.mark.parametrize("form", HEADS)
def test_through_a_recurrent_head_the_mass_is_kept(form: str) -> None:
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((5, 7)), *HEADS[form]()])
    head = read_head(model.layers, 5, 7)
    builder = GraphBuilder()
    window = x = float_input("x", 5, 7)
    for stage in head.stages:
        x = stage.unrolled(builder, x, 5)
    if head.single_sigmoid:
        x = builder.op("Concat", builder.op("Neg", x), x, axis=-1)
    unrolled = builder.build("head", [window], {"y": builder.op("Reshape", x, builder.integers(head.classes))})
    frames = np.abs(np.random.default_rng(4).normal(size=(5, 7)))
    target = np.zeros(head.classes)
    target[:2] = [-1, 1]
    excitation = handed_down(unrolled, frames, target, "excitation")
    assert excitation.min() >= 0
    assert excitation.sum() == pytest.approx(1, rel=1e-3)
    contrast = handed_down(unrolled, frames, target, "contrastive-excitation")
    assert contrast.sum() == pytest.approx(0, abs=1e-3)
    np.testing.assert_allclose(contrast, -handed_down(unrolled, frames, -target, "contrastive-excitation"), atol=1e-5)
    assert np.abs(contrast).max() > 1e-3


# --- LRP ---


def small_network(bias: bool) -> keras.Model:
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            keras.layers.Conv2D(6, 3, activation="relu", use_bias=bias),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False),
            keras.layers.BatchNormalization(center=bias),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(7, activation="relu", use_bias=bias),
            keras.layers.Dense(3, use_bias=bias),
        ]
    )
    rng = np.random.default_rng(6)
    for layer in model.layers:
        layer.set_weights(
            [w if w.ndim > 1 or not bias else w + 0.1 * np.abs(rng.normal(size=w.shape)) for w in layer.get_weights()]
        )
    return model


@pytest.fixture(scope="module", params=[False, True], ids=["without biases", "with biases"])
def converted(request: pytest.FixtureRequest) -> tuple[bool, Any]:
    from whycam_export.convert.tensorflow_onnx import to_onnx

    return request.param, to_onnx(small_network(request.param), "x", "y")


def test_the_epsilon_book_is_gradient_times_input_in_a_network_of_rectifiers(converted: tuple[bool, Any]) -> None:
    bias, model = converted
    x = normal(2, 3, 12, 12)
    relevance = run(model, x=x)["y"] * [[0, 1, 0]]
    found = handed_down(model, x, relevance, "lrp-epsilon")
    expected = x * handed_down(model, x, np.tile([[0.0, 1, 0]], (2, 1)), "gradient")
    np.testing.assert_allclose(found, expected, atol=3e-3 * np.abs(expected).max())
    if not bias:
        np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), relevance.sum(axis=1), rtol=1e-2)


@pytest.mark.parametrize("book", ["lrp", "lrp-z-plus"])
def test_relevance_is_kept_where_there_are_no_biases(converted: tuple[bool, Any], book: str) -> None:
    bias, model = converted
    if bias:
        pytest.skip("a bias keeps a part")
    x = normal(2, 3, 12, 12)
    relevance = run(model, x=x)["y"] * [[0, 1, 0]]
    found = handed_down(model, x, relevance, book)
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), relevance.sum(axis=1), rtol=1e-2)


def test_the_bias_of_a_dense_layer_keeps_its_share() -> None:
    x, w, b = np.array([[1.0, 2]]), np.array([[1.0], [1.0]]), np.array([3.0])
    apart = graph([node("MatMul", "x w", "z"), node("Add", "z b", "y")], (1, 2), {"w": w, "b": b})
    together = graph([node("Gemm", "x w b", "y")], (1, 2), {"w": w, "b": b})
    for model in (apart, together):
        np.testing.assert_allclose(handed_down(model, x, np.array([[6.0]]), "lrp"), [[1, 2]], rtol=1e-4)


# --- values within ---


@pytest.mark.parametrize("book", BOOKS)
def test_a_value_within_the_graph_is_differentiated_by_like_an_input(book: str) -> None:
    a, b = normal(5, 6), normal(6, 3)
    nodes = [node("MatMul", "x a", "h"), node("Relu", "h", "r"), node("MatMul", "r b", "y")]
    x, t = normal(2, 5), np.array([[1.0, 0, -1], [0, 1, 0]])
    both = differentiate(graph(nodes, (2, 5), {"a": a, "b": b}), ["y"], ["x", "r"], book)
    found = run(both, x=x, grad_y=t.astype(np.float32))
    below = graph([node("MatMul", "x b", "y")], (2, 6), {"b": b})
    expected = handed_down(below, np.maximum(x @ a, 0), t, book)
    np.testing.assert_allclose(found["grad_r"], expected, rtol=1e-4, atol=1e-6)
    whole = handed_down(graph(nodes, (2, 5), {"a": a, "b": b}), x, t, book)
    np.testing.assert_allclose(found["grad_x"], whole, rtol=1e-4, atol=1e-6)
