"""Tidying a graph: shapes inferred, constants folded and stored once, dead nodes removed, names made unique."""

from __future__ import annotations

import logging

import onnx_ir as ir
import onnx_ir.passes.common as passes
from onnxscript import optimizer

# It warns of each operator with several outputs that it does not fold, which is no fault of the user's.
logging.getLogger("onnxscript.optimizer").setLevel(logging.ERROR)


def infer_shapes(model: ir.Model) -> None:
    """Annotate the values of `model` with their shapes as far as they follow from its inputs."""
    passes.ShapeInferencePass(data_prop=True)(model)


def simplify(model: ir.Model) -> None:
    """Remove from `model`, in place, what its outputs do not need or what can be computed now."""
    passes.RemoveUnusedNodesPass()(model)
    passes.TopologicalSortPass()(model)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.NameFixPass()(model)
    infer_shapes(model)
    optimizer.fold_constants(model)
    passes.IdentityEliminationPass()(model)
    passes.CommonSubexpressionEliminationPass()(model)
    passes.DeduplicateInitializersPass(size_limit=1 << 30)(model)
    passes.RemoveUnusedNodesPass()(model)
    passes.NameFixPass()(model)
    infer_shapes(model)
