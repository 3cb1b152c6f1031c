"""Layer-wise relevance propagation: an output's value, handed down to the inputs that made it.

The epsilon rule (Bach et al. 2015, eq. 58) shares by signed contributions, the z-plus rule (Montavon et al. 2017,
eq. 10) by positive ones. Gates and normalisers get nothing (Arras et al. 2017); biases keep nothing for themselves.
"""

from __future__ import annotations

import onnx_ir as ir

from whycam_export.autodiff.rules.shares import (
    at,
    back,
    book,
    divided,
    is_positive,
    like,
    negative,
    operands,
    positive,
    repeat,
    total,
)
from whycam_export.autodiff.walk import Gradients, Rule, Walk

EPSILON = 1e-6


def _epsilon(walk: Walk, node: ir.Node) -> Gradients:
    """R_i = x_i sum_j w_ij R_j / (z_j + epsilon sign(z_j))."""
    relevance = walk.incoming(node)
    index, x, weights = operands(walk, node)
    y = repeat(walk, node, index, x, weights)
    share = like(walk, walk.op("Div", relevance, _stable(walk, y)), y)
    return at(index, like(walk, walk.op("Mul", x, back(walk, y, share, index, x)), x), node)


def _z_plus(walk: Walk, node: ir.Node) -> Gradients:
    """R_i = sum_j (x_i w_ij)+ / sum_k (x_k w_kj)+ R_j; for inputs of both signs all positive products count."""
    relevance = walk.incoming(node)
    index, x, weights = operands(walk, node)
    pairs = [(positive(walk, x), None if weights is None else positive(walk, weights))]
    if not is_positive(x) and weights is not None:
        pairs.append((negative(walk, x), negative(walk, weights)))
    made = [(signal, repeat(walk, node, index, signal, chosen)) for signal, chosen in pairs]
    share = like(walk, divided(walk, relevance, total(walk, [y for _, y in made])), node.outputs[0])
    found = [like(walk, walk.op("Mul", signal, back(walk, y, share, index, signal)), x) for signal, y in made]
    return at(index, total(walk, found), node)


def _add(subtract: bool) -> Rule:
    def rule(walk: Walk, node: ir.Node) -> Gradients:
        relevance, y = walk.incoming(node), node.outputs[0]
        a, b = node.inputs[:2]
        assert a is not None and b is not None  # a binary operator always has both inputs
        if not (walk.wants(a) and walk.wants(b)):
            return [walk.sum_to(relevance, value, y) if walk.wants(value) else None for value in (a, b)]
        share = walk.op("Div", relevance, _stable(walk, y))
        taken = walk.op("Neg", b) if subtract else b
        return [
            walk.sum_to(walk.op("Mul", share, part), value, y) for part, value in zip((a, taken), (a, b), strict=True)
        ]

    return rule


def _stable(walk: Walk, z: ir.Value) -> ir.Value:
    """z + epsilon sign(z), the sign of nought being positive."""
    zero, epsilon, opposite = (walk.constant(number, like=z) for number in (0, EPSILON, -EPSILON))
    above = walk.op("GreaterOrEqual", z, zero)
    return like(walk, walk.op("Add", z, walk.op("Where", above, epsilon, opposite)), z)


EPSILON_RULES: dict[str, Rule] = book(_epsilon, _add)
Z_PLUS_RULES: dict[str, Rule] = book(_z_plus, _add)
COMPOSITE_RULES: dict[str, Rule] = {**EPSILON_RULES, "Conv": _z_plus}
"""Z-plus in convolutions, epsilon in what is dense (Montavon et al. 2019, section 10.3)."""
