"""Layer-wise relevance propagation: the vector at the outputs is their relevance, which the layers share out.

Bach et al., On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation (2015);
which rule where: Montavon et al., Layer-Wise Relevance Propagation: An Overview (2019), section 10.3. The z-plus rule
is that of excitation backpropagation, so these books are that one with other rules for some operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from whycam_export.autodiff.rules.excitation import AVERAGES, average, rules, weighted
from whycam_export.autodiff.rules.shares import epsilon_share, stabilised
from whycam_export.autodiff.walk import Gradients, Rule, Walk


def composite(gradient: Mapping[str, Rule]) -> dict[str, Rule]:
    """Epsilon in dense layers, so that what speaks against is seen; z-plus in convolutions, sums and averages."""
    return {**{name: weighted(gradient, epsilon_share) for name in ("MatMul", "Gemm")}, **_sums(gradient, _dense_bias)}


def epsilon(gradient: Mapping[str, Rule]) -> dict[str, Rule]:
    """Epsilon in every linear operator, biases and shifts included: in a network of rectifiers gradient times input."""
    return {
        **{name: weighted(gradient, epsilon_share) for name in ("Conv", "MatMul", "Gemm")},
        **{name: average(gradient, epsilon_share) for name in (*AVERAGES, "BatchNormalization")},
        **_sums(gradient, lambda walk, node: True),
    }


def _dense_bias(walk: Walk, node: ir.Node) -> bool:
    computed = [value for value in node.inputs if value is not None and walk.wants(value)]
    maker = computed[0].producer()
    return len(computed) == 1 and maker is not None and maker.op_type == "MatMul"


def _sums(gradient: Mapping[str, Rule], where: Callable[[Walk, ir.Node], bool]) -> dict[str, Rule]:
    """Add and Sub: by the epsilon rule `where` that holds, so that a constant keeps its share, else like excitation."""

    def add(otherwise: Rule) -> Rule:
        def rule(walk: Walk, node: ir.Node) -> Gradients:
            if not where(walk, node):
                return otherwise(walk, node)
            y = node.outputs[0]
            share = walk.op("Div", walk.incoming(node), stabilised(walk, y))
            signed = [share, share if node.op_type == "Add" else walk.op("Neg", share)]
            return [
                walk.sum_to(walk.op("Mul", value, part), value, y) if value is not None and walk.wants(value) else None
                for value, part in zip(node.inputs, signed, strict=True)
            ]

        return rule

    excitation = rules(gradient)
    return {"Add": add(excitation["Add"]), "Sub": add(excitation["Sub"])}
