"""FP16 feature extractors: half precision within, inputs and outputs as they were, what it cannot hold in float32."""

from __future__ import annotations

import copy
from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from whycam_calibration.precision.network import Network
from whycam_calibration.precision.ranges import Ranges

LARGEST = 65504.0
"""The largest number of half precision."""
SAFE = LARGEST / 4
"""Values beyond it on the chosen frames are left in float32: other frames may show larger ones."""
SMALLEST = 2.0**-14
"""Below it half precision loses digits; values and weights all of which are smaller are left in float32."""


def unsafe_nodes(network: Network, ranges: Ranges) -> dict[str, str]:
    """The nodes that half precision is not safe for, by name, and why; the preprocessing is not among them."""
    weights = {tensor.name: tensor for tensor in network.model.graph.initializer}
    found: dict[str, str] = {}
    for node in network.model.graph.node:
        if node.name not in network.after_weights:
            continue
        for value in (*node.input, *node.output):
            reason = _unsafe_weight(weights[value]) if value in weights else _unsafe_value(ranges.get(value))
            if reason is not None:
                found.setdefault(node.name, reason)
    return found


def halve(network: Network, higher: Collection[str]) -> bytes:
    """The FP16 network as ONNX; the nodes `higher`, preprocessing, and what half precision lacks stay in float32."""
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    before = [node.name for node in network.model.graph.node if node.name not in network.after_weights]
    model = convert_float_to_float16(
        copy.deepcopy(network.model),
        keep_io_types=True,
        disable_shape_infer=True,
        node_block_list=[*before, *higher],
    )
    _without_detours(model)
    ONNXModel(model).topological_sort()
    model.producer_name = "whycam"
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _without_detours(model: onnx.ModelProto) -> None:
    """Take out the casts to half precision and back that the converter puts between two nodes left in float32.

    What passed them would be as small as half precision is, which the nodes were left in float32 for.
    """
    casts = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast"}
    for back in [node for node in casts.values() if _target(node) == TensorProto.FLOAT]:
        there = casts.get(back.input[0])
        if there is None or _target(there) != TensorProto.FLOAT16:
            continue
        back.op_type = "Identity"
        del back.attribute[:]
        back.input[0] = there.input[0]
    read = {value for node in model.graph.node for value in node.input}
    for node in [node for node in casts.values() if node.op_type == "Cast" and node.output[0] not in read]:
        if node.output[0] not in {output.name for output in model.graph.output}:
            model.graph.node.remove(node)


def _target(cast: onnx.NodeProto) -> int:
    return next(int(attribute.i) for attribute in cast.attribute if attribute.name == "to")


def _unsafe_value(pair: tuple[float, float] | None) -> str | None:
    if pair is None:
        return None
    largest = max(abs(pair[0]), abs(pair[1]))
    if largest > SAFE:
        return f"values up to {largest:.3g}"
    return f"values within {largest:.3g}" if 0 < largest < SMALLEST else None


def _unsafe_weight(tensor: onnx.TensorProto) -> str | None:
    if tensor.data_type != TensorProto.FLOAT:
        return None
    array = numpy_helper.to_array(tensor)
    largest = float(np.abs(array).max()) if array.size else 0.0
    if largest > LARGEST:
        return f"weights up to {largest:.3g}"
    return f"weights within {largest:.3g}" if 0 < largest < SMALLEST else None
