"""Rules of the normalisations and of the softmax."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from whycam_export.autodiff.walk import Gradients, Rule, Walk, attribute, fixed


def _batch_normalization(walk: Walk, node: ir.Node) -> Gradients:
    """At inference a scale per channel: gamma / sqrt(variance + epsilon)."""
    dy, x = walk.incoming(node), node.inputs[0]
    gamma, variance = fixed(node, 1), fixed(node, 4)
    assert x is not None and gamma is not None and variance is not None  # BatchNormalization always has five inputs
    scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    per_channel = scale.reshape(1, -1, *([1] * (walk.rank(x) - 2)))
    return [walk.op("Mul", dy, walk.constant(per_channel, like=x))]


def _layer_normalization(walk: Walk, node: ir.Node) -> Gradients:
    """With n = (x - mean) / deviation and g = dy * gamma: dx = (g - mean(g) - n mean(g n)) / deviation.

    Ba, Kiros & Hinton, Layer Normalization (2016), differentiated by the input.
    """
    dy, x, gamma = walk.incoming(node), node.inputs[0], node.inputs[1]
    assert x is not None  # LayerNormalization always has its input
    axes = range(attribute(node, "axis", -1) % walk.rank(x), walk.rank(x))
    return [_normalized(walk, node, axes, walk.op("Mul", dy, gamma))]


def _instance_normalization(walk: Walk, node: ir.Node) -> Gradients:
    """As layer normalisation, over the places of each channel of each picture; gamma per channel."""
    x = node.inputs[0]
    assert x is not None  # InstanceNormalization always has its input
    rank, gamma = walk.rank(x), fixed(node, 1)
    assert gamma is not None  # and its scale
    scale = walk.constant(gamma.reshape(-1, *([1] * (rank - 2))), like=x)
    return [_normalized(walk, node, range(2, rank), walk.op("Mul", walk.incoming(node), scale))]


def _normalized(walk: Walk, node: ir.Node, over: range, scaled: ir.Value) -> ir.Value:
    x, axes = node.inputs[0], walk.integers(*over)
    assert x is not None  # a normalisation always has its input
    centred = walk.op("Sub", x, walk.op("ReduceMean", x, axes, keepdims=1))
    variance = walk.op("ReduceMean", walk.op("Mul", centred, centred), axes, keepdims=1)
    epsilon = walk.constant(attribute(node, "epsilon", 1e-5), like=x)
    deviation = walk.op("Sqrt", walk.op("Add", variance, epsilon))
    normal = walk.op("Div", centred, deviation)
    along = walk.op("Mul", normal, walk.op("ReduceMean", walk.op("Mul", scaled, normal), axes, keepdims=1))
    across = walk.op("ReduceMean", scaled, axes, keepdims=1)
    return walk.op("Div", walk.op("Sub", walk.op("Sub", scaled, across), along), deviation)


def _softmax(walk: Walk, node: ir.Node) -> Gradients:
    """dx = y (dy - sum(dy y))."""
    dy, y = walk.incoming(node), node.outputs[0]
    axis = walk.integers(attribute(node, "axis", -1))
    total = walk.op("ReduceSum", walk.op("Mul", dy, y), axis, keepdims=1)
    return [walk.op("Mul", y, walk.op("Sub", dy, total))]


RULES: dict[str, Rule] = {
    "BatchNormalization": _batch_normalization,
    "InstanceNormalization": _instance_normalization,
    "LayerNormalization": _layer_normalization,
    "Softmax": _softmax,
}
