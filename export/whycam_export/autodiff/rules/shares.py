"""How a linear operator shares out what arrives at its outputs among its inputs.

For y_j = sum_i x_i w_ij, with p_j arriving at y_j, input i gets sum_j p_j c_ij / sum_k c_kj; the shares differ in what
counts as the contribution c_ij. Each is computed with the operator itself and its vector-Jacobian product over other
operands, so strides, groups and padding need no thought here. The bias takes no part. Where no contribution counts,
0 / 0, what arrived is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from whycam_export.autodiff.rules.roles import non_negative
from whycam_export.autodiff.walk import Rule, Walk

SMALLEST = 1e-30
"""Sums of contributions below this are taken for zero."""

EPSILON = 1e-6
"""The stabiliser of the epsilon rule."""


@dataclass(frozen=True)
class Linear:
    """A node that is linear in its input `index`, by weights in its input `weights` where it has them."""

    walk: Walk
    node: ir.Node
    gradient: Mapping[str, Rule]
    index: int = 0
    weights: int | None = None

    @property
    def x(self) -> ir.Value:
        """What is shared out to."""
        value = self.node.inputs[self.index]
        assert value is not None  # the walk comes here for an input that is there
        return value

    @property
    def w(self) -> ir.Value | None:
        """The weights, None where the operator has none."""
        return None if self.weights is None else self.node.inputs[self.weights]

    def over(self, x: ir.Value, w: ir.Value | None) -> ir.Value:
        """The operator over other operands, without its bias."""
        inputs = list(self.node.inputs)
        if self.weights is not None:
            inputs = inputs[:2]
            inputs[self.weights] = w
        inputs[self.index] = x
        y = self.node.outputs[0]
        result = self.walk.tape.op(self.node.op_type, inputs, dict(self.node.attributes))
        return _like(result, y)

    def back(self, result: ir.Value, arriving: ir.Value) -> ir.Value:
        """The vector-Jacobian product of what `over` returned, by its x."""
        node = result.producer()
        assert node is not None  # `over` made it
        value = node.inputs[self.index]
        assert value is not None  # `over` set it
        with self.walk.differentiating(value):
            self.walk.accumulate(result, arriving)
            gradient = self.gradient[node.op_type](self.walk, node)[self.index]
        assert gradient is not None  # `value` is differentiated by
        return gradient


def positive_share(linear: Linear, arriving: ir.Value) -> ir.Value:
    """c = max(x w, 0): Zhang et al., Top-down Neural Attention by Excitation Backprop (2016), eq. 5, and the z-plus
    rule of Montavon et al., Explaining NonLinear Classification Decisions with Deep Taylor Decomposition (2017).

    Both are written for x >= 0, where c = x max(w, 0); a negative input counts by its negative weights.
    """
    walk, x, w = linear.walk, linear.x, linear.w
    signs = [True] if non_negative(x) else [True, False]
    values = [part(walk, x, positive=sign) for sign in signs] if len(signs) > 1 else [x]
    made = [
        linear.over(value, None if w is None else part(walk, w, positive=sign))
        for value, sign in zip(values, signs, strict=True)
        if w is not None or sign
    ]
    shared = quotient(walk, arriving, _sum(walk, made), like=x)
    return _sum(walk, [walk.op("Mul", value, linear.back(y, shared)) for value, y in zip(values, made, strict=False)])


def signed_share(linear: Linear, arriving: ir.Value) -> ir.Value:
    """c = x w where it has the sign s of the sum z = sum x w, else 0: what drove the neuron where it is.

    For neurons that are never below zero this is the positive share; for a tanh state below zero it counts what drove
    it down. Computed as c = (|x w| + s x w) / 2, whose sum (|z| + sum |x w|) / 2 is at least half of sum |x w|, so
    nothing cancels.
    """
    walk, x, w = linear.walk, linear.x, linear.w
    z = linear.over(x, w)
    if non_negative(x) and (w is None or non_negative(w)):
        return walk.op("Mul", x, linear.back(z, quotient(walk, arriving, z, like=x)))
    size = x if non_negative(x) else _like(walk.op("Abs", x), x)
    absolute = linear.over(size, _absolute(walk, w))
    shared = quotient(walk, arriving, walk.op("Add", walk.op("Abs", z), absolute), like=x)
    same = walk.op("Mul", size, linear.back(absolute, shared))
    signed = walk.op("Mul", x, linear.back(z, walk.op("Mul", sign(walk, z), shared)))
    return walk.op("Add", same, signed)


def epsilon_share(linear: Linear, arriving: ir.Value) -> ir.Value:
    """c = x w and the sum is the neuron's own output, bias included, kept from zero by EPSILON: what the bias
    contributed is lost. Bach et al., On Pixel-Wise Explanations (2015), equation 58."""
    walk, x = linear.walk, linear.x
    shared = walk.op("Div", arriving, stabilised(walk, linear.node.outputs[0]))
    return walk.op("Mul", x, linear.back(linear.over(x, linear.w), shared))


def stabilised(walk: Walk, y: ir.Value) -> ir.Value:
    """y + EPSILON sign(y), never zero."""
    return walk.op("Add", y, walk.op("Mul", sign(walk, y), walk.constant(EPSILON, like=y)))


def sign(walk: Walk, y: ir.Value) -> ir.Value:
    """-1 below zero, else 1."""
    below = walk.op("Less", y, walk.constant(0, like=y))
    twice = walk.where(below, walk.constant(2, like=y), like=y)
    return walk.op("Sub", walk.constant(1, like=y), twice)


def quotient(walk: Walk, arriving: ir.Value, total: ir.Value, like: ir.Value) -> ir.Value:
    """arriving / total, of the element type of `like`; 0 where nothing contributed."""
    smallest = walk.constant(SMALLEST, like=like)
    shared = walk.where(walk.op("Greater", total, smallest), arriving, like=like)
    return walk.op("Div", shared, walk.op("Max", total, smallest))


def part(walk: Walk, value: ir.Value, positive: bool) -> ir.Value:
    """max(value, 0) or min(value, 0).

    Of weights too it is written as an operator, so that they stand in the file once; ONNX Runtime computes it at load.
    """
    zero = walk.constant(0, like=value)
    return _like(walk.op("Relu", value) if positive else walk.op("Min", value, zero), value)


def _absolute(walk: Walk, w: ir.Value | None) -> ir.Value | None:
    return None if w is None else _like(walk.op("Abs", w), w)


def _sum(walk: Walk, parts: list[ir.Value]) -> ir.Value:
    total = parts[0]
    for other in parts[1:]:
        total = walk.op("Add", total, other)
    return total


def _like(value: ir.Value, template: ir.Value) -> ir.Value:
    value.shape, value.type = template.shape, template.type
    return value
