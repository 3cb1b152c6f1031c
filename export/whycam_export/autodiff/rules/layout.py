"""Rules of the operators that only move elements."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from whycam_export.autodiff.rules.axes import put_back
from whycam_export.autodiff.walk import DifferentiationError, Gradients, Rule, Walk, attribute, fixed


def _reshape(walk: Walk, node: ir.Node) -> Gradients:
    return [walk.reshape_like(walk.incoming(node), _source(node))]


def _transpose(walk: Walk, node: ir.Node) -> Gradients:
    perm = attribute(node, "perm", None) or list(reversed(range(walk.rank(_source(node)))))
    return [walk.op("Transpose", walk.incoming(node), perm=[int(axis) for axis in np.argsort(perm)])]


def _expand(walk: Walk, node: ir.Node) -> Gradients:
    return [walk.sum_to(walk.incoming(node), _source(node), node.outputs[0])]


def _tile(walk: Walk, node: ir.Node) -> Gradients:
    """The sum over the copies."""
    dy, x, repeats = walk.incoming(node), _source(node), fixed(node, 1)
    assert repeats is not None  # Tile always has its repeats
    apart: list[int] = []
    axes: list[int] = []
    for axis, count in enumerate(repeats.tolist()):
        if count > 1:
            axes.append(len(apart))
            apart.append(count)
        dim = walk.dims(x)[axis]
        apart.append(-1 if dim is None else dim)
    copies = walk.op("Reshape", dy, walk.integers(*apart))
    return [walk.op("ReduceSum", copies, walk.integers(*axes), keepdims=0) if axes else dy]


def _concat(walk: Walk, node: ir.Node) -> Gradients:
    dy, axis = walk.incoming(node), attribute(node, "axis", 0)
    gradients: list[ir.Value | None] = []
    start = 0
    for value in node.inputs:
        assert value is not None  # Concat has no optional inputs
        size = walk.static(value, axis)
        part = (walk.integers(start), walk.integers(start + size), walk.integers(axis))
        gradients.append(walk.op("Slice", dy, *part) if walk.wants(value) else None)
        start += size
    return gradients


def _split(walk: Walk, node: ir.Node) -> Gradients:
    parts = [walk.gradient(value) or walk.zeros_like(value) for value in node.outputs]
    return [walk.op("Concat", *parts, axis=attribute(node, "axis", 0))]


def _slice(walk: Walk, node: ir.Node) -> Gradients:
    """The gradient where the elements were, zeros elsewhere."""
    dy, x = walk.incoming(node), _source(node)
    rank = walk.rank(x)
    starts, stops, axes, steps = (fixed(node, index) for index in range(1, 5))
    assert starts is not None and stops is not None  # Slice always has them
    axes = np.arange(len(starts)) if axes is None else axes % rank
    steps = np.ones(len(starts), np.int64) if steps is None else steps
    before, after = [0] * rank, [0] * rank
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        if (start, step) == (0, 1) and stop >= 10**9:
            continue  # all of an axis, which may be a free one
        size = walk.static(x, axis)
        taken = range(size)[slice(int(start), _stop(int(stop), int(step)), int(step))]
        if not taken:
            raise DifferentiationError(f"node '{node.name}': Slice takes nothing of axis {axis}")
        if step in (1, -1):
            before[axis], after[axis] = min(taken), size - 1 - max(taken)
            if step == -1:
                dy = walk.op("Slice", dy, *(walk.integers(number) for number in (-1, -(2**62), int(axis), -1)))
        else:
            dy = put_back(walk, dy, int(axis), np.array(taken), rank, size)
            dy.dtype = walk.dtype(x)
    return [walk.op("Pad", dy, walk.integers(*before, *after)) if any([*before, *after]) else dy]


def _stop(stop: int, step: int) -> int | None:
    # ONNX says "to the very start" by a number below any index, which Python would count from the end.
    return None if step < 0 and stop < -(2**30) else stop


def _pad(walk: Walk, node: ir.Node) -> Gradients:
    dy, x, mode = walk.incoming(node), _source(node), attribute(node, "mode", "constant")
    pads = fixed(node, 1)
    assert pads is not None  # Pad always has its padding
    axes = fixed(node, 3)
    rank = walk.rank(x)
    full = np.zeros((2, rank), np.int64)
    full[:, list(range(rank)) if axes is None else axes % rank] = pads.reshape(2, -1)
    if mode == "constant":
        return [walk.op("Pad", dy, walk.integers(*(-full).ravel().tolist()))]
    # Each padded element is a copy of one within: reflect, edge and wrap say which, as numpy does.
    for axis in np.flatnonzero(full.any(axis=0)):
        before, after = (int(count) for count in full[:, axis])
        size = walk.static(x, int(axis))
        inner = np.arange(size)[max(-before, 0) : size - max(-after, 0)]
        picked = np.pad(inner, (max(before, 0), max(after, 0)), mode=mode)
        dy = put_back(walk, dy, int(axis), picked, rank, size)
        dy.dtype = walk.dtype(x)
    return [dy]


def _gather(walk: Walk, node: ir.Node) -> Gradients:
    """Elements picked by constant indices along one axis: each goes back to its place."""
    x, axis = _source(node), attribute(node, "axis", 0) % walk.rank(_source(node))
    indices = fixed(node, 1)
    assert indices is not None  # Gather always has its indices
    if indices.ndim > 1:
        raise DifferentiationError(f"node '{node.name}': Gather has a rule for one index or a list of them only")
    size = walk.static(x, axis)
    dy = walk.incoming(node)
    if indices.ndim == 0:
        dy = walk.op("Unsqueeze", dy, walk.integers(axis))
        dy.dtype = walk.dtype(x)
    return [put_back(walk, dy, axis, indices.ravel() % size, walk.rank(x), size)]


def _source(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None  # an operator of this file always has its first input
    return value


RULES: dict[str, Rule] = {
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _reshape,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
