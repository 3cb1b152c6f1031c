"""The way back of what happens along one axis: elements picked, or mixed by a constant matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from whycam_export.autodiff.walk import Walk


def put_back(walk: Walk, dy: ir.Value, axis: int, picked: np.ndarray[Any, Any], rank: int, size: int) -> ir.Value:
    """The gradient by a tensor of `rank` and of `size` along `axis` whose elements `picked` make up `dy`.

    An element picked several times gets the sum.
    """
    if len(set(picked.tolist())) < picked.size:
        return mix_back(walk, dy, axis, np.eye(size)[picked], rank)
    # An index one past the end finds the zeros that are added there.
    back = np.full(size, picked.size, np.int64)
    back[picked] = np.arange(picked.size)
    if np.array_equal(back, np.arange(picked.size)):
        return dy
    pads = np.zeros((2, rank), np.int64)
    pads[1, axis] = 1
    padded = walk.op("Pad", dy, walk.integers(*pads.ravel().tolist()))
    return walk.op("Gather", padded, walk.constant(back), axis=axis)


def mix_back(walk: Walk, dy: ir.Value, axis: int, matrix: np.ndarray[Any, Any], rank: int) -> ir.Value:
    """The gradient by x of y = `matrix` x along `axis`; `matrix` is [size of y, size of x]."""
    weights = walk.constant(matrix, like=dy)
    if axis == rank - 1:
        return walk.op("MatMul", dy, weights)
    perm = [*(other for other in range(rank) if other != axis), axis]
    mixed = walk.op("MatMul", walk.op("Transpose", dy, perm=perm), weights)
    return walk.op("Transpose", mixed, perm=[int(place) for place in np.argsort(perm)])
