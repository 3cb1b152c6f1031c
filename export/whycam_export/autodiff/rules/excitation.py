"""Excitation backpropagation: which input neurons win (Zhang et al. 2016, eq. 3 to 5; in time, Bargal et al. 2018).

A linear operator gives each input neuron a part of an output's probability in proportion to its excitatory
contribution, x relu(W). Zhang's activations are not negative; the states of a recurrent network are. So here a
neuron's winners are those whose contribution has its own sign: for activations that are not negative these are the
excitatory ones, and the rule is Zhang's. What finds no such contribution is lost; nothing is ever gained.
"""

from __future__ import annotations

import onnx_ir as ir

from whycam_export.autodiff.rules.shares import (
    at,
    back,
    bias_follows,
    book,
    divided,
    is_positive,
    is_rectified,
    like,
    negative,
    operands,
    positive,
    repeat,
    total,
)
from whycam_export.autodiff.walk import Gradients, Rule, Walk


def _weighed(walk: Walk, node: ir.Node) -> Gradients:
    mass = walk.incoming(node)
    index, x, weights = operands(walk, node)
    neuron = bias_follows(node, walk)
    signals = [(1, positive(walk, x))] if is_positive(x) else [(1, positive(walk, x)), (-1, negative(walk, x))]
    signs = [1] if is_rectified(neuron) or (weights is None and is_positive(x)) else [1, -1]
    zero = walk.constant(0, like=mass)
    found: list[ir.Value] = []
    for sign in signs:
        won = mass
        if len(signs) > 1:
            # Exactly nought is nobody's: it is counted once, with the positive ones.
            above = walk.op("GreaterOrEqual", neuron, zero)
            won = walk.op("Where", above, mass, zero) if sign > 0 else walk.op("Where", above, zero, mass)
        parts = []
        for kind, signal in signals:
            if weights is None and kind != sign:
                continue
            chosen = None if weights is None else (positive if kind == sign else negative)(walk, weights)
            parts.append((signal, repeat(walk, node, index, signal, chosen)))
        share = divided(walk, won, total(walk, [y for _, y in parts]))
        share = like(walk, share, node.outputs[0])
        found += [like(walk, walk.op("Mul", signal, back(walk, y, share, index, signal)), x) for signal, y in parts]
    return at(index, total(walk, found), node)


def _add(subtract: bool) -> Rule:
    def rule(walk: Walk, node: ir.Node) -> Gradients:
        mass, y = walk.incoming(node), node.outputs[0]
        a, b = node.inputs[:2]
        assert a is not None and b is not None  # a binary operator always has both inputs
        if not (walk.wants(a) and walk.wants(b)):
            return [walk.sum_to(mass, value, y) if walk.wants(value) else None for value in (a, b)]
        sign = walk.op("Sign", y)
        contributions = [
            walk.op("Relu", walk.op("Mul", value, sign)) for value in (a, walk.op("Neg", b) if subtract else b)
        ]
        share = divided(walk, mass, like(walk, walk.op("Add", *contributions), y))
        return [
            walk.sum_to(walk.op("Mul", share, part), value, y)
            for part, value in zip(contributions, (a, b), strict=True)
        ]

    return rule


RULES: dict[str, Rule] = book(_weighed, _add)
