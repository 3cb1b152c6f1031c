"""Guided backpropagation: rectifiers pass back only what is positive.

Springenberg et al., Striving for Simplicity: The All Convolutional Net (2015), section 3.4: at a rectifier the
gradient passes where the unit was active in the forward pass and where the gradient itself is positive.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from whycam_export.autodiff.walk import Gradients, Rule, Walk, fixed


def rules(gradient: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rules that differ from those of `gradient`."""

    def positive(operator: str) -> Rule:
        def rule(walk: Walk, node: ir.Node) -> Gradients:
            passed, *others = gradient[operator](walk, node)
            return [None if passed is None else walk.op("Relu", passed), *others]

        return rule

    def clip(walk: Walk, node: ir.Node) -> Gradients:
        # A Clip that starts at zero is a rectifier (relu6); any other is not.
        low = fixed(node, 1)
        return (positive("Clip") if low is not None and float(low) == 0 else gradient["Clip"])(walk, node)

    def leaky(operator: str) -> Rule:
        def rule(walk: Walk, node: ir.Node) -> Gradients:
            # A unit below zero leaks but is not active: nothing passes.
            dy, x = walk.incoming(node), node.inputs[0]
            assert x is not None  # a rectifier always has its input
            zero = walk.constant(0, like=x)
            return [walk.where(walk.op("Greater", x, zero), walk.op("Relu", dy), like=x)]

        return rule

    return {"Relu": positive("Relu"), "Clip": clip, "LeakyRelu": leaky("LeakyRelu"), "PRelu": leaky("PRelu")}
