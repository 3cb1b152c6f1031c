"""What a value is to the network around it: never negative, on its way to a rectifier, a gate."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

MOVING = (
    *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
    *("Slice", "Split", "Gather", "Expand", "Tile"),
)
"""The operators that only move elements of their first input."""

_NEVER_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Exp", "Abs", "Sqrt", "ReduceL2")
_KEEP_THE_SIGN = (
    *MOVING,
    *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Concat", "Add", "Mul", "Cast"),
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"),
)
_GATES = ("Sigmoid", "HardSigmoid", "Softmax", "Erf")


def constant(value: ir.Value | None) -> np.ndarray | None:
    """`value` as an array where it is a constant."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def non_negative(value: ir.Value | None) -> bool:
    """Whether the graph shows that no element of `value` is below zero."""
    array = constant(value)
    if array is not None:
        return bool(np.all(array >= 0))
    node = None if value is None else value.producer()
    if node is None:
        return False
    if node.op_type in _NEVER_NEGATIVE:
        return True
    if node.op_type == "Clip":
        low = constant(node.inputs[1]) if len(node.inputs) > 1 else None
        return low is not None and float(low) >= 0
    if node.op_type in MOVING or node.op_type.startswith("Reduce"):
        return node.op_type in _KEEP_THE_SIGN and non_negative(node.inputs[0])
    if node.op_type == "Pad":
        fill = constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else np.zeros(1)
        return fill is not None and bool(np.all(fill >= 0)) and non_negative(node.inputs[0])
    return node.op_type in _KEEP_THE_SIGN and all(non_negative(part) for part in node.inputs)


def rectified(value: ir.Value) -> bool:
    """Whether all that reads `value` is a rectifier, perhaps behind a bias or a positive scale."""
    # The nodes of the reverse walk read values too, but are not yet in the graph.
    readers = [reader for reader in value.consumers() if reader.graph is not None]
    if not readers or value.is_graph_output():
        return False
    for reader in readers:
        if reader.op_type == "Relu" or (reader.op_type == "Clip" and non_negative(reader.outputs[0])):
            continue
        others = [constant(other) for other in reader.inputs if other is not value]
        shift = reader.op_type == "Add" and all(other is not None for other in others)
        scale = reader.op_type == "Mul" and all(other is not None and bool(np.all(other >= 0)) for other in others)
        if not ((shift or scale or reader.op_type == "Identity") and rectified(reader.outputs[0])):
            return False
    return True


def is_gate(value: ir.Value | None) -> bool:
    """Whether `value` weighs others: a sigmoid, softmax or error function, perhaps moved, scaled or taken from one.

    Arras et al., Explaining Recurrent Neural Network Predictions in Sentiment Analysis (2017), section 3: of a product
    of a gate and a signal the signal takes all.
    """
    node = None if value is None else value.producer()
    if node is None:
        return False
    if node.op_type in _GATES:
        return True
    if node.op_type in MOVING:
        return is_gate(node.inputs[0])
    if node.op_type in ("Add", "Sub", "Mul", "Div"):
        computed = [part for part in node.inputs if constant(part) is None]
        return len(computed) == 1 and is_gate(computed[0])
    return False
