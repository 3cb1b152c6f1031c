"""Guided backpropagation: a rectifier lets back only what is positive (Springenberg et al. 2015, section 3.4)."""

from __future__ import annotations

import onnx_ir as ir

from whycam_export.autodiff.rules import elementwise
from whycam_export.autodiff.walk import Gradients, Rule, Walk


def _guided(rule: Rule) -> Rule:
    def guided(walk: Walk, node: ir.Node) -> Gradients:
        return [None if gradient is None else walk.op("Relu", gradient) for gradient in rule(walk, node)]

    return guided


RULES: dict[str, Rule] = {name: _guided(elementwise.RULES[name]) for name in ("Clip", "LeakyRelu", "Relu")}
