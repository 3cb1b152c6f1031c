"""INT8 feature extractors: QDQ through ONNX Runtime, symmetric weights per channel, a form for each kind of device."""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from whycam_calibration.precision.network import WEIGHTED, Network
from whycam_calibration.precision.ranges import Ranges

_SUMS = ("Add",)
# What only moves or pools values: the numbers before it serve as well behind it.
_MOVING = ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "MaxPool", "ReduceMean")
_POOLING = ("GlobalAveragePool", "AveragePool", "GlobalMaxPool")


@dataclass(frozen=True)
class Form:
    """How activations are quantized."""

    precision: str
    """The precision's name in the bundle."""
    title: str
    symmetric: bool
    """QInt8 around zero; else QUInt8 from the lowest to the highest, where a ReLU costs nothing."""


PORTABLE = Form("int8", "symmetric, for GPU and TensorRT", symmetric=True)
"""Inputs of layers alone are quantized, each with a pair of its own, and no bias: as TensorRT fuses."""
CPU = Form("int8-cpu", "unsigned, for the CPU", symmetric=False)
"""The outputs that leave the network as well, so that each layer runs in whole numbers."""


def quantize(
    network: Network, ranges: Ranges, form: Form, *, higher: Collection[str] = (), only: str | None = None
) -> bytes:
    """The INT8 network in `form` as ONNX: same inputs and outputs, these in float32.

    Args:
        network: what to quantize.
        ranges: of its values.
        form: how.
        higher: nodes to leave in float32, with what they read.
        only: the one node to quantize, and nothing else.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    chosen = _chosen(network, set(higher), only)
    data: dict[str, Any] = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    options = {
        "ActivationSymmetric": form.symmetric,
        "WeightSymmetric": True,
        "OpTypesToExcludeOutputQuantization": [*WEIGHTED, *_SUMS],
        # TensorRT shares no pair between nodes, and takes biases in float.
        "DedicatedQDQPair": form.symmetric,
        "QuantizeBias": not form.symmetric,
    }
    with only_errors():
        quantizer = QDQQuantizer(
            copy.deepcopy(network.model),
            True,  # per channel
            False,  # all 8 bits of the weights
            QuantType.QInt8,
            QuantType.QInt8 if form.symmetric else QuantType.QUInt8,
            TensorsData(CalibrationMethod.MinMax, data),
            sorted(chosen),
            [],
            [*WEIGHTED, *_SUMS],
            options,
        )
        if not form.symmetric:
            for value in _leaving(network, chosen):
                quantizer.quantize_activation_tensor(value)
        quantizer.quantize_model()
    model: onnx.ModelProto = quantizer.model.model
    ONNXModel(model).topological_sort()
    model.producer_name = "whycam"
    content: bytes = model.SerializeToString()
    return content


@contextmanager
def only_errors() -> Iterator[None]:
    """ONNX Runtime's quantizers warn by the root logger of what is meant so: be quiet meanwhile."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def quantized_values(network: Network) -> frozenset[str]:
    """The values whose ranges `quantize` may ask for: what layers and sums read and give, and what leaves."""
    found = set(_leaving(network, {layer.node for layer in network.layers}))
    for node in network.model.graph.node:
        if node.name in network.after_weights and node.op_type in (*WEIGHTED, *_SUMS):
            found |= {*node.input, *node.output}
    return frozenset(found - network.constants)


def _chosen(network: Network, higher: set[str], only: str | None) -> set[str]:
    layers = {layer.node for layer in network.layers}
    if only is not None:
        return {only}
    sums = {
        node.name
        for node in network.model.graph.node
        # With a constant it is a bias or a normalization: better in float.
        if node.op_type in _SUMS and not network.constants & set(node.input) and node.name in network.after_weights
    }
    near = {name for name in sums if higher & _around(network, name)}
    return (layers | sums) - higher - near


def _around(network: Network, name: str) -> set[str]:
    """The layers whose values the sum `name` reads, or that read what it gives."""
    (node,) = (node for node in network.model.graph.node if node.name == name)
    before = {source for value in node.input for source in network.sources(value)}
    behind = {
        layer.node
        for layer in network.layers
        for each in network.model.graph.node
        if each.name == layer.node and name in network.sources(each.input[0])
    }
    return before | behind


def _leaving(network: Network, chosen: set[str]) -> list[str]:
    """What leaves the network, taken before it is moved or pooled, as far as quantized layers alone made it."""
    found = []
    for output in network.model.graph.output:
        value = output.name
        while (node := network.producers.get(value)) is not None and node.op_type in (*_MOVING, *_POOLING):
            value = node.input[0]
        sources = network.sources(value)
        if sources and sources <= chosen and value not in found:
            found.append(value)
    return found
