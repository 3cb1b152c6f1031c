"""Whole networks of keras.applications, converted and differentiated, against TensorFlow's GradientTape.

All six that are supported are compared by `bench/gradients.py`; here are those that are built in seconds.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

from tests.export.autodiff.graphs import Array, run
from whycam_export.autodiff import DifferentiationError, differentiate
from whycam_export.convert.tensorflow_onnx import to_onnx

NETWORKS = ["VGG19", "MobileNetV2", "EfficientNetB0"]
SIZE = 32


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> tuple[keras.Model, onnx.ModelProto, Array]:
    """A network with random weights and statistics, its graph, and pictures [N,C,H,W] for it."""
    keras.utils.set_random_seed(0)
    make = getattr(keras.applications, request.param)
    model = make(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3), pooling="avg")
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([weight + 0.1 * np.abs(rng.normal(size=weight.shape)) for weight in layer.get_weights()])
    wide = 255 if request.param == "EfficientNetB0" else 1
    pictures = rng.uniform(-wide, wide, (2, 3, SIZE, SIZE)).astype(np.float32)
    return model, to_onnx(model, "images", "features"), pictures


def test_the_gradient_agrees_with_gradient_tape(network: tuple[keras.Model, onnx.ModelProto, Array]) -> None:
    model, graph, pictures = network
    vector = np.random.default_rng(2).normal(size=(2, model.output_shape[-1])).astype(np.float32)
    with tf.GradientTape() as tape:
        inputs = tf.constant(pictures.transpose(0, 2, 3, 1))
        tape.watch(inputs)
        value = tf.reduce_sum(model(inputs, training=False) * vector)
    expected = tape.gradient(value, inputs).numpy().transpose(0, 3, 1, 2)
    found = run(differentiate(graph, ["features"], ["images"]), images=pictures, grad_features=vector)["grad_images"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("book", ["guided", "excitation", "lrp", "lrp-epsilon", "lrp-z-plus"])
def test_every_book_goes_through(network: tuple[keras.Model, onnx.ModelProto, Array], book: str) -> None:
    _, graph, pictures = network
    features = run(graph, images=pictures)["features"]
    mass = np.zeros_like(features)
    strongest = features.mean(axis=0).argmax()
    mass[:, strongest] = features[:, strongest]
    shared = run(differentiate(graph, ["features"], ["images"], book), images=pictures, grad_features=mass)
    found: Any = shared["grad_images"]
    assert np.isfinite(found).all()
    assert np.abs(found).max() > 0
    if book not in ("guided", "lrp-epsilon"):
        # None is gained; where a neuron is active by its bias alone, what arrives there is lost.
        assert found.min() >= 0
        assert (found.sum(axis=(1, 2, 3)) <= mass.sum(axis=1) * (1 + 1e-3)).all()


def test_several_layers_are_differentiated_by_at_once(network: tuple[keras.Model, onnx.ModelProto, Array]) -> None:
    _, graph, pictures = network
    layers = [node.output[0] for node in graph.graph.node if node.op_type == "Conv"][-3:]
    together = differentiate(graph, ["features"], [*layers, "images"])
    vector = np.ones_like(run(graph, images=pictures)["features"])
    found = run(together, images=pictures, grad_features=vector)
    for name in layers:
        alone = run(differentiate(graph, ["features"], [name]), images=pictures, grad_features=vector)
        np.testing.assert_allclose(found[f"grad_{name}"], alone[f"grad_{name}"], rtol=1e-5, atol=1e-7)


def test_the_layer_of_an_operator_without_a_rule_is_that_of_the_model() -> None:
    odd = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.Lambda(lambda x: tf.math.cumsum(x, 1), name="odd")],
        name="small",
    )
    with pytest.raises(DifferentiationError, match=r"of layer 'small/odd': operator CumSum has no"):
        differentiate(to_onnx(odd, "x", "y"), ["y"], ["x"])
