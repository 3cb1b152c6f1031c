"""Rules of the matrix products."""

from __future__ import annotations

import onnx_ir as ir

from whycam_export.autodiff.walk import DifferentiationError, Gradients, Rule, Walk, attribute


def _matmul(walk: Walk, node: ir.Node) -> Gradients:
    dy, (a, b), y = walk.incoming(node), (node.inputs[0], node.inputs[1]), node.outputs[0]
    assert a is not None and b is not None  # MatMul always has both inputs
    if min(walk.rank(a), walk.rank(b)) < 2:
        raise DifferentiationError(
            f"node '{node.name}': MatMul of a vector has no rule; give both inputs two dimensions"
        )
    if walk.rank(a) == walk.rank(b) == 2:
        # Gemm transposes as it reads, so the weights are not stored a second time.
        return [
            walk.op("Gemm", dy, b, transB=1) if walk.wants(a) else None,
            walk.op("Gemm", a, dy, transA=1) if walk.wants(b) else None,
        ]
    return [
        walk.sum_to(walk.op("MatMul", dy, _transposed(walk, b)), a, y) if walk.wants(a) else None,
        walk.sum_to(walk.op("MatMul", _transposed(walk, a), dy), b, y) if walk.wants(b) else None,
    ]


def _gemm(walk: Walk, node: ir.Node) -> Gradients:
    dy, (a, b) = walk.incoming(node), (node.inputs[0], node.inputs[1])
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
    trans_a, trans_b = attribute(node, "transA", 0), attribute(node, "transB", 0)
    da = db = dc = None
    if walk.wants(a):
        da = (
            walk.op("Gemm", b, dy, transA=trans_b, transB=1, alpha=alpha)
            if trans_a
            else walk.op("Gemm", dy, b, transB=1 - trans_b, alpha=alpha)
        )
    if walk.wants(b):
        db = (
            walk.op("Gemm", dy, a, transA=1, transB=trans_a, alpha=alpha)
            if trans_b
            else walk.op("Gemm", a, dy, transA=1 - trans_a, alpha=alpha)
        )
    if bias is not None and walk.wants(bias):
        dc = walk.sum_to(walk.op("Mul", dy, walk.constant(beta, like=dy)), bias, node.outputs[0])
    return [da, db, dc]


def _transposed(walk: Walk, matrix: ir.Value) -> ir.Value:
    rank = walk.rank(matrix)
    return walk.op("Transpose", matrix, perm=[*range(rank - 2), rank - 1, rank - 2])


RULES: dict[str, Rule] = {"Gemm": _gemm, "MatMul": _matmul}
