"""Rules of the reductions."""

from __future__ import annotations

import math

import onnx_ir as ir

from whycam_export.autodiff.walk import Gradients, Rule, Walk, attribute, fixed


def _reduce_sum(walk: Walk, node: ir.Node) -> Gradients:
    return [_spread(walk, node, walk.incoming(node))]


def _reduce_mean(walk: Walk, node: ir.Node) -> Gradients:
    x = node.inputs[0]
    assert x is not None  # a reduction always has its input
    count = math.prod(walk.static(x, axis) for axis in _axes(walk, node))
    dy = walk.incoming(node)
    return [_spread(walk, node, walk.op("Mul", dy, walk.constant(1 / count, like=dy)))]


def _reduce_l2(walk: Walk, node: ir.Node) -> Gradients:
    """dx = dy x / y; 0 where the length is 0, as in TensorFlow's divide_no_nan."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None  # a reduction always has its input
    zero = walk.constant(0, like=y)
    share = walk.op("Where", walk.op("Greater", y, zero), walk.op("Div", walk.incoming(node), y), zero)
    return [walk.op("Mul", x, _kept(walk, node, share))]


def _reduce_extremum(walk: Walk, node: ir.Node) -> Gradients:
    """Equal extrema share the gradient, as in TensorFlow."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None  # a reduction always has its input
    mask = walk.op("Cast", walk.op("Equal", x, _kept(walk, node, y)), to=int(walk.dtype(x)))
    ties = walk.op("ReduceSum", mask, walk.integers(*_axes(walk, node)), keepdims=1)
    return [walk.op("Mul", mask, walk.op("Div", _kept(walk, node, walk.incoming(node)), ties))]


def _axes(walk: Walk, node: ir.Node) -> list[int]:
    """The reduced axes, from the attribute (older operators) or the second input (newer ones)."""
    x = node.inputs[0]
    assert x is not None  # a reduction always has its input
    rank = walk.rank(x)
    given = attribute(node, "axes", None)
    if given is None:
        array = fixed(node, 1)
        given = range(rank) if array is None or array.size == 0 else array.tolist()
    return sorted(axis % rank for axis in given)


def _kept(walk: Walk, node: ir.Node, reduced: ir.Value) -> ir.Value:
    """`reduced` with the reduced axes as ones."""
    if attribute(node, "keepdims", 1):
        return reduced
    return walk.op("Unsqueeze", reduced, walk.integers(*_axes(walk, node)))


def _spread(walk: Walk, node: ir.Node, gradient: ir.Value) -> ir.Value:
    """Repeat `gradient` along the reduced axes."""
    x = node.inputs[0]
    assert x is not None  # a reduction always has its input
    axes = _axes(walk, node)
    repeats = [walk.static(x, axis) if axis in axes else 1 for axis in range(walk.rank(x))]
    return walk.op("Expand", _kept(walk, node, gradient), walk.integers(*repeats))


RULES: dict[str, Rule] = {
    "ReduceL2": _reduce_l2,
    "ReduceMax": _reduce_extremum,
    "ReduceMean": _reduce_mean,
    "ReduceMin": _reduce_extremum,
    "ReduceSum": _reduce_sum,
}
