"""The top of a network: the linear layers that its outputs are read off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from whycam_export.autodiff.walk import Walk

_LINEAR = ("Conv", "Gemm", "MatMul")
_ABOVE = ("Add", "Cast", "Concat", "Flatten", "Identity", "Neg", "Reshape", "Squeeze", "Sub", "Transpose", "Unsqueeze")


@dataclass(frozen=True)
class Top:
    """The topmost linear layers, and the nodes above them; both empty where an output is read off something else."""

    layers: frozenset[ir.Node] = frozenset()
    above: frozenset[ir.Node] = frozenset()


def find_top(walk: Walk, outputs: Sequence[ir.Value]) -> Top:
    """The top below `outputs`: above its layers nodes only move elements, turn their sign or add a constant."""
    layers: set[ir.Node] = set()
    above: set[ir.Node] = set()
    pending = list(outputs)
    while pending:
        node = pending.pop().producer()
        if node is None:
            return Top()
        computed = [value for value in node.inputs if value is not None and walk.wants(value)]
        if node.op_type in _LINEAR and len(computed) == 1:
            layers.add(node)
        elif node.op_type in _ABOVE and (len(computed) == 1 or node.op_type == "Concat"):
            above.add(node)
            pending += computed
        else:
            return Top()
    return Top(frozenset(layers), frozenset(above))
