"""The activation functions of Keras as ONNX operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from whycam_export.convert.graph import GraphBuilder

Emit = Callable[[GraphBuilder, ir.Value], ir.Value]


def _relu6(graph: GraphBuilder, x: ir.Value) -> ir.Value:
    return graph.op("Clip", x, graph.number(0.0), graph.number(6.0))


def _silu(graph: GraphBuilder, x: ir.Value) -> ir.Value:
    return graph.op("Mul", x, graph.op("Sigmoid", x))


def _gelu(graph: GraphBuilder, x: ir.Value) -> ir.Value:
    # Hendrycks & Gimpel (2016): x Phi(x), Phi by the error function.
    phi = graph.op("Add", graph.op("Erf", graph.op("Div", x, graph.number(math.sqrt(2)))), graph.number(1.0))
    return graph.op("Mul", x, graph.op("Mul", phi, graph.number(0.5)))


def _mish(graph: GraphBuilder, x: ir.Value) -> ir.Value:
    return graph.op("Mul", x, graph.op("Tanh", graph.op("Softplus", x)))


ACTIVATIONS: dict[str, Emit] = {
    "elu": lambda graph, x: graph.op("Elu", x),
    "exponential": lambda graph, x: graph.op("Exp", x),
    "gelu": _gelu,
    # Keras 3: relu6(x + 3) / 6
    "hard_sigmoid": lambda graph, x: graph.op("HardSigmoid", x, alpha=1 / 6, beta=0.5),
    "hard_silu": lambda graph, x: graph.op("HardSwish", x),
    "leaky_relu": lambda graph, x: graph.op("LeakyRelu", x, alpha=0.2),
    "linear": lambda graph, x: x,
    "mish": _mish,
    "relu": lambda graph, x: graph.op("Relu", x),
    "relu6": _relu6,
    "selu": lambda graph, x: graph.op("Selu", x),
    "sigmoid": lambda graph, x: graph.op("Sigmoid", x),
    "silu": _silu,
    "softmax": lambda graph, x: graph.op("Softmax", x, axis=-1),
    "softplus": lambda graph, x: graph.op("Softplus", x),
    "softsign": lambda graph, x: graph.op("Softsign", x),
    "tanh": lambda graph, x: graph.op("Tanh", x),
}

RECURRENT: dict[str, str] = {
    "hard_sigmoid": "HardSigmoid",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "softsign": "Softsign",
    "tanh": "Tanh",
}
"""The activations that ONNX's GRU and LSTM nodes know as Keras does, by their ONNX names."""


def recurrent_attributes(names: list[str]) -> dict[str, Any]:
    """The attributes that tell a GRU or LSTM node its activations, one per gate function and direction."""
    attributes: dict[str, Any] = {"activations": [RECURRENT[name] for name in names]}
    if "hard_sigmoid" in names:
        # ONNX reads alpha and beta off these lists in the order of the functions; those without ignore theirs.
        attributes["activation_alpha"] = [float(np.float32(1 / 6)) for _ in names]
        attributes["activation_beta"] = [0.5 for _ in names]
    return attributes
