"""Heads of many forms against Keras: window, step and gradient."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tensorflow as tf
from keras import layers

from whycam_export.convert.head import gradient_graph, read_head, step_graph, window_graph
from whycam_export.convert.head.activations import ACTIVATIONS
from whycam_export.errors import ModelError

T, F = 5, 7
HEADS: dict[str, Callable[[], list[keras.Layer]]] = {
    "GRU": lambda: [layers.GRU(6), layers.Dense(3, activation="softmax")],
    "GRU, reset before": lambda: [layers.GRU(6, reset_after=False), layers.Dense(3, activation="softmax")],
    "GRU without biases": lambda: [layers.GRU(6, use_bias=False), layers.Dense(3, use_bias=False)],
    "GRU, other activations": lambda: [
        layers.GRU(6, activation="relu", recurrent_activation="hard_sigmoid"),
        layers.Dense(2, activation="softmax"),
    ],
    "GRU, activations that no native node has": lambda: [
        layers.GRU(6, activation="gelu", recurrent_activation="softmax"),
        layers.Dense(2, activation="softmax"),
    ],
    "GRU, read backwards": lambda: [layers.GRU(6, go_backwards=True), layers.Dense(3, activation="softmax")],
    "LSTM": lambda: [layers.LSTM(6), layers.Dense(3, activation="softmax")],
    "LSTM, other activations": lambda: [
        layers.LSTM(6, activation="softsign", recurrent_activation="hard_sigmoid"),
        layers.Dense(2),
    ],
    "LSTM, read backwards, over a sequence": lambda: [
        layers.LSTM(6, return_sequences=True, go_backwards=True),
        layers.GRU(4, return_sequences=True, go_backwards=True),
        layers.LSTM(5),
        layers.Dense(3, activation="softmax"),
    ],
    "stacked": lambda: [
        layers.Dropout(0.5),
        layers.GRU(6, return_sequences=True),
        layers.LayerNormalization(),
        layers.Dropout(0.5),
        layers.LSTM(5),
        layers.Dense(4, activation="relu"),
        layers.Dense(3, activation="softmax"),
    ],
    "dense before the GRU": lambda: [
        layers.TimeDistributed(layers.Dense(4, activation="tanh")),
        layers.BatchNormalization(),
        layers.GRU(6),
        layers.Dense(3, activation="softmax"),
    ],
    "average over time": lambda: [
        layers.GRU(6, return_sequences=True),
        layers.Dense(4, activation="gelu"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(3, activation="softmax"),
    ],
    "maximum over time": lambda: [
        layers.LSTM(6, return_sequences=True),
        layers.GlobalMaxPooling1D(),
        layers.Dense(3, activation="softmax"),
    ],
    "flattened sequence": lambda: [layers.GRU(6, return_sequences=True), layers.Flatten(), layers.Dense(3)],
    "bidirectional GRU": lambda: [layers.Bidirectional(layers.GRU(6)), layers.Dense(3, activation="softmax")],
    "bidirectional LSTM, summed, over a sequence": lambda: [
        layers.Bidirectional(layers.LSTM(6, return_sequences=True), merge_mode="sum"),
        layers.Bidirectional(layers.GRU(4, reset_after=False), merge_mode="ave"),
        layers.Dense(3, activation="softmax"),
    ],
    "bidirectional LSTM, other activations": lambda: [
        layers.Bidirectional(layers.LSTM(6, activation="silu", return_sequences=True), merge_mode="mul"),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ],
    "single sigmoid": lambda: [layers.GRU(6), layers.Dense(1, activation="sigmoid")],
    "single logit": lambda: [layers.GRU(6), layers.Dense(1)],
    "softmax as its own layer": lambda: [layers.GRU(6), layers.Dense(3), layers.Dropout(0.5), layers.Softmax()],
    "activation as its own layer": lambda: [layers.GRU(6), layers.Dense(3), layers.Activation("softmax")],
}


def built(make: Callable[[], list[keras.Layer]]) -> keras.Sequential:
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((T, F)), *make()])
    rng = np.random.default_rng(4)
    # Biases and statistics that are not what they start as.
    model.set_weights([w + 0.3 * np.abs(rng.normal(size=w.shape)).astype(np.float32) for w in model.get_weights()])
    return model


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    onnx.checker.check_model(model, full_check=True)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def windows(count: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(count, T, F)).astype(np.float32)


def keras_logits(model: keras.Sequential, window: tf.Tensor) -> tf.Tensor:
    """The model without its last activation; a single logit z as [-z, z]."""
    x = window
    for layer in model.layers[:-1]:
        x = layer(x)
    last = model.layers[-1]
    if isinstance(last, layers.Dense):
        x = tf.matmul(x, last.kernel) + (last.bias if last.use_bias else 0.0)
    return tf.concat([-x, x], -1) if x.shape[-1] == 1 else x


@pytest.mark.parametrize("form", HEADS)
def test_window_graph_agrees_with_keras(form: str) -> None:
    model, x = built(HEADS[form]), windows(3)
    logits, scores = session(window_graph(read_head(model.layers, T, F))).run(None, {"window": x})
    expected = keras_logits(model, x)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    single = model.output_shape[-1] == 1
    np.testing.assert_allclose(scores, tf.sigmoid(expected) if single else tf.nn.softmax(expected), atol=1e-6)
    if form in ("single sigmoid", "softmax as its own layer"):
        np.testing.assert_allclose(scores[:, -1:] if single else scores, model.predict(x, verbose=0), atol=1e-6)


@pytest.mark.parametrize("form", HEADS)
def test_gradient_graph_agrees_with_gradient_tape(form: str) -> None:
    gradient_agrees(built(HEADS[form]))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradient_through_each_activation_agrees_with_gradient_tape(name: str) -> None:
    gradient_agrees(built(lambda: [layers.GRU(6), layers.Dense(4, activation=name), layers.Dense(3)]))


def gradient_agrees(model: keras.Sequential) -> None:
    x = windows(1)
    run = session(gradient_graph(read_head(model.layers, T, F)))
    target = np.zeros(run.get_inputs()[1].shape, np.float32)
    target[1], target[0] = 1.0, -0.5
    logits, gradient = run.run(None, {"window": x[0], "target": target})
    with tf.GradientTape() as tape:
        inputs = tf.convert_to_tensor(x)
        tape.watch(inputs)
        expected_logits = keras_logits(model, inputs)
        value = tf.reduce_sum(expected_logits * target)
    expected = tape.gradient(value, inputs).numpy()[0]
    np.testing.assert_allclose(logits, expected_logits[0], atol=1e-5)
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("form", HEADS)
def test_step_graph_agrees_with_the_window_at_every_frame(form: str) -> None:
    head = read_head(built(HEADS[form]).layers, T, F)
    if any(word in form for word in ("bidirectional", "backwards", "flattened")):
        assert head.no_step is not None
        return
    model, tensors = step_graph(head)
    step, window = session(model), session(window_graph(head))
    stream = np.random.default_rng(6).normal(size=(2, 3 * T, F)).astype(np.float32)
    states = {tensor.name: np.zeros((2, *tensor.shape), np.float32) for tensor in tensors}
    for time in range(3 * T):
        _, scores, *following = step.run(None, {"features": stream[:, time], **states})
        states = dict(zip(states, following, strict=True))
        if time >= T - 1:
            expected = window.run(["scores"], {"window": stream[:, time - T + 1 : time + 1]})[0]
            np.testing.assert_allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize("form", HEADS)
def test_step_graph_has_no_node_for_which_sizes_and_addresses_are_copied_from_the_host(form: str) -> None:
    """ONNX Runtime's CUDA does so for what is cut or joined unevenly, and for stacks of matrices.

    A step that is replayed as a CUDA graph would copy what the host has at that place by then.
    """
    head = read_head(built(HEADS[form]).layers, T, F)
    if head.no_step is not None:
        return
    graph = onnx.shape_inference.infer_shapes(step_graph(head)[0]).graph
    shapes = {
        each.name: [size.dim_param or size.dim_value for size in each.type.tensor_type.shape.dim]
        for each in [*graph.input, *graph.value_info, *graph.output]
    }
    shapes |= {each.name: list(each.dims) for each in graph.initializer}
    for node in graph.node:
        if node.op_type in ("Concat", "Split"):
            pieces = node.input if node.op_type == "Concat" else node.output
            assert len(pieces) <= 32
            assert all(shapes[piece] == shapes[pieces[0]] for piece in pieces)
        if node.op_type == "MatMul":
            assert len(shapes[node.input[1]]) == 2


def test_layers_of_one_name_keep_their_weights() -> None:
    alike = [layers.GRU(6, return_sequences=True, name="same"), layers.GRU(6, name="same")]
    dense = [layers.Dense(6, name="same"), layers.Dense(3, name="same")]
    model = built(lambda: [keras.Sequential([layer]) for layer in (*alike, *dense)])
    head = read_head([*alike, *dense], T, F)
    x = windows(1)
    expected = model(x)
    np.testing.assert_allclose(session(window_graph(head)).run(["logits"], {"window": x})[0], expected, atol=1e-5)
    step_model, tensors = step_graph(head)
    step = session(step_model)
    states = {tensor.name: np.zeros((1, *tensor.shape), np.float32) for tensor in tensors}
    for time in range(T):
        logits, _, *following = step.run(None, {"features": x[:, time], **states})
        states = dict(zip(states, following, strict=True))
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_the_window_graph_has_native_recurrent_nodes() -> None:
    model = window_graph(read_head(built(HEADS["stacked"]).layers, T, F))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("GRU") == kinds.count("LSTM") == 1
    assert "Loop" not in kinds


def test_the_gradient_graph_stores_each_weight_once() -> None:
    head = read_head(built(HEADS["GRU"]).layers, T, F)
    weights = sum(int(np.prod(w.shape)) for w in built(HEADS["GRU"]).get_weights())
    stored = sum(
        int(np.prod(tensor.dims)) for tensor in gradient_graph(head).graph.initializer if tensor.data_type == 1
    )
    assert stored <= weights + 20


def test_the_gradient_graph_never_builds_the_gradient_of_a_weight() -> None:
    frames, features, units = 11, 13, 17  # sizes that no two dimensions share
    model = keras.Sequential([keras.Input((frames, features)), layers.LSTM(units), layers.Dense(19), layers.Dense(3)])
    graph = onnx.shape_inference.infer_shapes(gradient_graph(read_head(model.layers, frames, features))).graph
    shapes = {info.name: tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim) for info in graph.value_info}
    made = {shapes.get(name) for node in graph.node for name in node.output}
    weights = {tuple(array.shape) for array in model.get_weights() if array.ndim == 2}
    assert made
    assert not made & (weights | {shape[::-1] for shape in weights})


REFUSED: dict[str, tuple[Callable[[], list[keras.Layer]], str]] = {
    "no recurrent layer": (lambda: [layers.Flatten(), layers.Dense(2)], "no GRU or LSTM layer"),
    "another recurrent layer": (
        lambda: [layers.SimpleRNN(3, name="rnn", return_sequences=True), layers.GRU(2)],
        "'rnn' (SimpleRNN) is not",
    ),
    "several sigmoids": (lambda: [layers.GRU(3), layers.Dense(2, activation="sigmoid", name="out")], "layer 'out'"),
    "a sequence at the end": (lambda: [layers.GRU(3, return_sequences=True, name="seq")], "layer 'seq'"),
    "stateful": (lambda: [layers.GRU(3, stateful=True, name="kept"), layers.Dense(2)], "layer 'kept': stateful"),
    "directions of two kinds": (
        lambda: [
            layers.Bidirectional(layers.GRU(3), backward_layer=layers.LSTM(3, go_backwards=True), name="both"),
            layers.Dense(2),
        ],
        "layer 'both': its two directions are not of one kind",
    ),
    "a mask": (lambda: [layers.Masking(0.0, name="mask"), layers.GRU(3), layers.Dense(2)], "layer 'mask' (Masking)"),
    "an activation of one's own": (
        lambda: [layers.GRU(3, activation=tf.math.sin, name="odd"), layers.Dense(2)],
        "layer 'odd': activation sin",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_supported_is_refused_with_the_name_of_its_layer(case: str) -> None:
    make, message = REFUSED[case]
    batch = 1 if case == "stateful" else None
    model = keras.Sequential([keras.Input((T, F), batch_size=batch), *make()])
    with pytest.raises(ModelError) as caught:
        read_head(model.layers, T, F)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
