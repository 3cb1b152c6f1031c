"""What excitation backpropagation and LRP share: what an output holds is handed down to its inputs in shares.

These books are walked like the gradient's, but what travels is a mass (a winning probability, a relevance) that is
split at each node. Operators that only move or select elements, and max pooling, do so as for the gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from whycam_export.autodiff.rules import convolution, linear, pooling, reduction
from whycam_export.autodiff.walk import Gradients, Rule, Walk

GATES = frozenset({"HardSigmoid", "Sigmoid", "Softmax"})
UNARY = (
    "Abs", "BatchNormalization", "Cast", "Clip", "Elu", "Erf", "Exp", "HardSigmoid", "Identity", "LayerNormalization",
    "LeakyRelu", "Log", "Neg", "Pow", "Reciprocal", "Relu", "Sigmoid", "Softmax", "Softplus", "Softsign", "Sqrt",
    "Tanh",
)  # fmt: skip
"""Operators with one input neuron for each output neuron (or treated so): what it holds passes unchanged."""
SUMS: dict[str, Rule] = {
    "AveragePool": pooling.RULES["AveragePool"],
    "GlobalAveragePool": pooling.RULES["GlobalAveragePool"],
    "ReduceMean": reduction.RULES["ReduceMean"],
    "ReduceSum": reduction.RULES["ReduceSum"],
}
PRODUCTS: dict[str, Rule] = {
    "Conv": convolution.RULES["Conv"],
    "Gemm": linear.RULES["Gemm"],
    "MatMul": linear.RULES["MatMul"],
}
_MOVES = frozenset({
    "AveragePool", "Concat", "Flatten", "Gather", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool", "Pad",
    "ReduceMax", "ReduceMean", "ReduceSum", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip
_POSITIVE = frozenset({"Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus"})
_TINY = 1e-12


def unary(walk: Walk, node: ir.Node) -> Gradients:
    """All of it to the first input."""
    return [walk.incoming(node)]


def product(walk: Walk, node: ir.Node) -> Gradients:
    """Element by element: all to the signal, none to the gate (Arras et al. 2017); without a gate, half to each."""
    mass, (a, b), y = walk.incoming(node), _two(node), node.outputs[0]
    if a is b:
        return [mass, None]
    if not (walk.wants(a) and walk.wants(b)):
        return [walk.sum_to(mass, value, y) if walk.wants(value) else None for value in (a, b)]
    if is_gate(walk, a) != is_gate(walk, b):
        return [None if is_gate(walk, value) else walk.sum_to(mass, value, y) for value in (a, b)]
    half = walk.op("Mul", mass, walk.constant(0.5, like=mass))
    return [walk.sum_to(half, value, y) for value in (a, b)]


def quotient(walk: Walk, node: ir.Node) -> Gradients:
    """All to the numerator: a denominator normalises."""
    mass, (a, b), y = walk.incoming(node), _two(node), node.outputs[0]
    if walk.wants(a):
        return [walk.sum_to(mass, a, y), None]
    return [None, walk.sum_to(mass, b, y)]


def is_gate(walk: Walk, value: ir.Value) -> bool:
    """Whether `value` is what a gate lets through: a sigmoid or softmax, 1 less it, or a piece of it."""
    node = value.producer()
    if node is None:
        return False
    if node.op_type in GATES:
        return True
    if node.op_type in _MOVES or node.op_type in ("Add", "Expand", "Mul", "Sub"):
        active = [given for given in node.inputs if given is not None and walk.wants(given)]
        return len(active) == 1 and is_gate(walk, active[0])
    return False


def is_positive(value: ir.Value) -> bool:
    """Whether `value` cannot be negative, by the operators that it comes from."""
    node = value.producer()
    if node is None:
        return False
    if node.op_type in _POSITIVE:
        return True
    if node.op_type == "Clip" and len(node.inputs) > 1 and node.inputs[1] is not None:
        lowest = ir.convenience.get_const_tensor(node.inputs[1])
        return lowest is not None and float(lowest.numpy()) >= 0
    if node.op_type in _MOVES:
        sources = node.inputs if node.op_type == "Concat" else node.inputs[:1]
        return all(source is not None and is_positive(source) for source in sources)
    return False


def repeat(walk: Walk, node: ir.Node, index: int, x: ir.Value, weights: ir.Value | None = None) -> ir.Value:
    """The operator of `node` without its bias, on `x` in place of input `index` and other `weights`."""
    inputs: list[ir.Value | None] = list(node.inputs)
    if node.op_type in PRODUCTS:
        inputs = [None, None]
        inputs[1 - index] = weights
    inputs[index] = x
    attributes = {name: given.value for name, given in node.attributes.items()}
    y = walk.op(node.op_type, *inputs, **attributes)
    y.shape, y.dtype = node.outputs[0].shape, walk.dtype(node.outputs[0])
    return y


def back(walk: Walk, y: ir.Value, gradient: ir.Value, index: int, x: ir.Value) -> ir.Value:
    """What `gradient` at `y`, an output of `repeat`, is at its input `x`: a vector-Jacobian product."""
    node = y.producer()
    assert node is not None
    walk.follow(x)
    walk.accumulate(y, gradient)
    found = {**PRODUCTS, **SUMS}[node.op_type](walk, node)[index]
    assert found is not None  # x is followed
    return found


def operands(walk: Walk, node: ir.Node) -> tuple[int, ir.Value, ir.Value | None]:
    """Which input of a linear operator carries the signal, that input, and what weighs it (None: all the same)."""
    if node.op_type in SUMS:
        (x,) = node.inputs[:1]
        assert x is not None
        return 0, x, None
    a, b = _two(node)
    if not walk.wants(a) or (walk.wants(b) and is_gate(walk, a)):
        return 1, b, a
    return 0, a, b


def at(index: int, value: ir.Value, node: ir.Node) -> Gradients:
    """`value` for input `index` of `node`, nothing for the others."""
    return [value if place == index else None for place in range(len(node.inputs))]


def like(walk: Walk, value: ir.Value, model: ir.Value) -> ir.Value:
    """`value`, known to have the shape and type of `model`."""
    value.shape, value.dtype = model.shape, walk.dtype(model)
    return value


def positive(walk: Walk, value: ir.Value) -> ir.Value:
    """relu(value)."""
    return value if is_positive(value) else like(walk, walk.op("Relu", value), value)


def negative(walk: Walk, value: ir.Value) -> ir.Value:
    """relu(-value)."""
    return like(walk, walk.op("Relu", walk.op("Neg", value)), value)


def divided(walk: Walk, mass: ir.Value, whole: ir.Value) -> ir.Value:
    """mass / whole, and nought where the whole is."""
    zero, one, tiny = (walk.constant(number, like=whole) for number in (0, 1, _TINY))
    there = walk.op("Greater", whole, tiny)
    return walk.op("Where", there, walk.op("Div", mass, walk.op("Where", there, whole, one)), zero)


def total(walk: Walk, parts: list[ir.Value]) -> ir.Value:
    """The sum of `parts`."""
    result = parts[0]
    for part in parts[1:]:
        result = like(walk, walk.op("Add", result, part), result)
    return result


def book(weighed: Rule, add: Callable[[bool], Rule]) -> dict[str, Rule]:
    """The swapped rules of a book: `weighed` for the linear operators, `add(subtract)` for the sum of two signals."""
    return {
        **dict.fromkeys(UNARY, unary),
        **dict.fromkeys((*PRODUCTS, *SUMS), weighed),
        "Add": add(False),
        "Sub": add(True),
        "Mul": product,
        "Div": quotient,
    }


def bias_follows(node: ir.Node, walk: Walk) -> ir.Value:
    """The output of `node`, or what a constant that is added to it makes of it: the neuron's value."""
    y = node.outputs[0]
    uses = list(y.uses())
    if len(uses) == 1 and uses[0].node.op_type == "Add":
        after = uses[0].node
        others = [value for value in after.inputs if value is not y]
        if len(others) == 1 and not walk.wants(others[0]) and after.outputs[0].shape == y.shape:
            return after.outputs[0]
    return y


def is_rectified(value: ir.Value) -> bool:
    """Whether `value` is only ever seen through a rectifier: then nothing comes back where it is negative."""
    nodes = [use.node for use in value.uses()]
    return bool(nodes) and all(
        node.op_type == "Relu" or (node.op_type == "Clip" and is_positive(node.outputs[0])) for node in nodes
    )


def _two(node: ir.Node) -> tuple[ir.Value, ir.Value]:
    a, b = node.inputs[:2]
    assert a is not None and b is not None  # a binary operator always has both inputs
    return a, b
