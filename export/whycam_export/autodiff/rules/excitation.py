"""Excitation backpropagation: the gradient's place is taken by a probability mass that each neuron shares out.

Zhang et al., Top-down Neural Attention by Excitation Backprop (2016), equations 3 to 5; Bargal et al., Excitation
Backprop for RNNs (2018), for the recurrence. The mass that leaves an operator is the mass that arrives, but for what
arrives where no contribution counts (see `shares`) or leads to a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from whycam_export.autodiff.rules.roles import is_gate, rectified
from whycam_export.autodiff.rules.shares import Linear, positive_share, quotient, sign, signed_share
from whycam_export.autodiff.walk import Gradients, Rule, Walk

Share = Callable[[Linear, ir.Value], ir.Value]

ONE_TO_ONE = (
    *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Clip", "Sigmoid", "HardSigmoid", "Tanh", "Softplus", "Softsign"),
    *("HardSwish", "Gelu", "Exp", "Log", "Sqrt", "Abs", "Neg", "Reciprocal", "Erf"),
    *("BatchNormalization", "LayerNormalization", "InstanceNormalization", "Softmax"),
)
"""The operators of one input neuron per output neuron, or near enough: the mass stays where it is.

A normalisation compares a neuron with others, but what it says is about that neuron."""

AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum", "Resize")


def rules(gradient: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rules that differ from those of `gradient`; those that move elements or pick a maximum are the same."""
    return {
        **dict.fromkeys(ONE_TO_ONE, _unchanged),
        **{name: average(gradient, signed_share) for name in AVERAGES},
        **{name: weighted(gradient, _contributions) for name in ("Conv", "MatMul", "Gemm")},
        "Add": _add,
        "Sub": _sub,
        "Mul": _mul,
        "Div": _numerator,
        "Pow": _numerator,
        "ReduceL2": _reduce_l2(gradient),
    }


def top(gradient: Mapping[str, Rule], contrastive: bool = False) -> dict[str, Rule]:
    """The rules of the topmost linear layer, which share out the outputs' vector itself.

    The layer's weights folded with the vector are one neuron's weights w: what it hands down is max(x w, 0), normalised
    to 1; the contrastive form takes from it the same for -w (Zhang et al. 2016, section 3.3).
    """

    def rule(walk: Walk, node: ir.Node) -> Gradients:
        return [
            (_contrast if contrastive else _winners)(walk, value, folded) if value is not None and folded else None
            for value, folded in zip(node.inputs, gradient[node.op_type](walk, node), strict=False)
        ]

    return dict.fromkeys(("Conv", "MatMul", "Gemm"), rule)


def average(gradient: Mapping[str, Rule], share: Share) -> Rule:
    """The rule of an operator that sums or averages its first input."""

    def rule(walk: Walk, node: ir.Node) -> Gradients:
        return [share(Linear(walk, node, gradient), walk.incoming(node))]

    return rule


def weighted(gradient: Mapping[str, Rule], share: Share) -> Rule:
    """The rule of an operator that multiplies its first two inputs; a gate among them is taken for the weights."""

    def rule(walk: Walk, node: ir.Node) -> Gradients:
        arriving = walk.incoming(node)
        signals = _signals(walk, node.inputs[:2])
        arriving = _divided(walk, arriving, len(signals))
        return [
            share(Linear(walk, node, gradient, index, 1 - index), arriving) if index in signals else None
            for index in (0, 1)
        ]

    return rule


def _contributions(linear: Linear, arriving: ir.Value) -> ir.Value:
    # What a rectifier lets through is never below zero, so only what raised it counts, bias or not.
    share = positive_share if rectified(linear.node.outputs[0]) else signed_share
    return share(linear, arriving)


def _unchanged(walk: Walk, node: ir.Node) -> Gradients:
    return [walk.incoming(node)]


def _add(walk: Walk, node: ir.Node) -> Gradients:
    """Of two neurons each gets in proportion to what it adds in the direction of the sum."""
    return _of_two(walk, node, [node.inputs[0], node.inputs[1]])


def _sub(walk: Walk, node: ir.Node) -> Gradients:
    b = node.inputs[1]
    assert b is not None  # Sub always has two inputs
    return _of_two(walk, node, [node.inputs[0], walk.op("Neg", b)])


def _of_two(walk: Walk, node: ir.Node, terms: Sequence[ir.Value | None]) -> Gradients:
    arriving, y = walk.incoming(node), node.outputs[0]
    if _computed(walk, node) != [0, 1]:
        return _to_one(walk, node, arriving)
    direction = sign(walk, y)
    parts = [walk.op("Relu", walk.op("Mul", direction, term)) for term in terms]
    shared = quotient(walk, arriving, walk.op("Add", *parts), like=y)
    return [
        walk.sum_to(walk.op("Mul", part, shared), value, y)
        for part, value in zip(parts, node.inputs, strict=True)
        if value is not None
    ]


def _mul(walk: Walk, node: ir.Node) -> Gradients:
    """The signal gets all, its gate nothing; two signals, or two gates, half each."""
    arriving, y = walk.incoming(node), node.outputs[0]
    signals = _signals(walk, node.inputs)
    share = _divided(walk, arriving, len(signals))
    return [
        walk.sum_to(share, value, y) if value is not None and index in signals else None
        for index, value in enumerate(node.inputs)
    ]


def _numerator(walk: Walk, node: ir.Node) -> Gradients:
    """A quotient's mass goes to the numerator, a power's to its base: what divides it only scales it."""
    return _to_one(walk, node, walk.incoming(node))


def _to_one(walk: Walk, node: ir.Node, arriving: ir.Value) -> Gradients:
    first = _computed(walk, node)[0]
    value = node.inputs[first]
    assert value is not None  # it is computed
    return [None] * first + [walk.sum_to(arriving, value, node.outputs[0])]


def _reduce_l2(gradient: Mapping[str, Rule]) -> Rule:
    """The square root of a sum: each gets in proportion to its square."""

    def rule(walk: Walk, node: ir.Node) -> Gradients:
        # The gradient of ReduceL2 is dy x / y; once more with x / y it is the share dy x^2 / y^2.
        x, y = node.inputs[0], node.outputs[0]
        assert x is not None  # a reduction always has its input
        linear = Linear(walk, node, gradient)
        return [walk.op("Mul", x, linear.back(linear.over(x, None), quotient(walk, walk.incoming(node), y, like=y)))]

    return rule


def _computed(walk: Walk, node: ir.Node) -> list[int]:
    return [index for index, value in enumerate(node.inputs[:2]) if walk.wants(value)]


def _signals(walk: Walk, operands: Sequence[ir.Value | None]) -> list[int]:
    """Those of a product's operands that take the mass."""
    active = [index for index, value in enumerate(operands) if walk.wants(value)]
    signals = [index for index in active if not is_gate(operands[index])]
    return signals or active


def _divided(walk: Walk, arriving: ir.Value, count: int) -> ir.Value:
    return arriving if count == 1 else walk.op("Mul", arriving, walk.constant(1 / count, like=arriving))


def _winners(walk: Walk, x: ir.Value, folded: ir.Value) -> ir.Value:
    return _normalised(walk, x, walk.op("Relu", walk.op("Mul", x, folded)))


def _contrast(walk: Walk, x: ir.Value, folded: ir.Value) -> ir.Value:
    against = walk.op("Relu", walk.op("Neg", walk.op("Mul", x, folded)))
    return walk.op("Sub", _winners(walk, x, folded), _normalised(walk, x, against))


def _normalised(walk: Walk, x: ir.Value, mass: ir.Value) -> ir.Value:
    axes = walk.integers(*range(1, walk.rank(x))) if walk.rank(x) > 1 else walk.integers(0)
    total = walk.op("ReduceSum", mass, axes, keepdims=1)
    return quotient(walk, mass, total, like=x)
