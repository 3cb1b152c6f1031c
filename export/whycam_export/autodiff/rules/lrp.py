"""Layer-wise relevance propagation: the vector at the outputs is their relevance, which the layers share out.

Bach et al., On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation (2015);
which rule where: Montavon et al., Layer-Wise Relevance Propagation: An Overview (2019), section 10.3. The z-plus rule
is that of excitation backpropagation, so these books are that one with other rules for some operators.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from whycam_export.autodiff.rules.excitation import AVERAGES, average, rules, weighted
from whycam_export.autodiff.rules.shares import epsilon_share, stabilised
from whycam_export.autodiff.walk import Gradients, Rule, Walk


def composite(gradient: Mapping[str, Rule]) -> dict[str, Rule]:
    """Epsilon in dense layers, so that what speaks against is seen; z-plus in convolutions, sums and averages."""
    return {**{name: weighted(gradient, epsilon_share) for name in ("MatMul", "Gemm")}, **_biases(gradient)}


def epsilon(gradient: Mapping[str, Rule]) -> dict[str, Rule]:
    """Epsilon in every linear operator: in a network of rectifiers it is gradient times input."""
    return {
        **{name: weighted(gradient, epsilon_share) for name in ("Conv", "MatMul", "Gemm")},
        **{name: average(gradient, epsilon_share) for name in AVERAGES},
        **_biases(gradient, sums=True),
    }


def _biases(gradient: Mapping[str, Rule], sums: bool = False) -> dict[str, Rule]:
    """Add and Sub by the epsilon rule where one operand is a dense layer's bias; with `sums` where both count."""

    def rule(otherwise: Rule) -> Rule:
        def add(walk: Walk, node: ir.Node) -> Gradients:
            computed = [value for value in node.inputs if value is not None and walk.wants(value)]
            maker = computed[0].producer()
            bias = len(computed) == 1 and maker is not None and maker.op_type == "MatMul"
            if not (bias or (sums and len(computed) == 2)):
                return otherwise(walk, node)
            y = node.outputs[0]
            share = walk.op("Div", walk.incoming(node), stabilised(walk, y))
            signed = [share, share if node.op_type == "Add" else walk.op("Neg", share)]
            return [
                walk.sum_to(walk.op("Mul", value, part), value, y) if value is not None and walk.wants(value) else None
                for value, part in zip(node.inputs, signed, strict=True)
            ]

        return add

    excitation = rules(gradient)
    return {"Add": rule(excitation["Add"]), "Sub": rule(excitation["Sub"])}
