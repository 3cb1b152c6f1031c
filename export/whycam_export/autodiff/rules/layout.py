"""Rules of the operators that only move elements."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from whycam_export.autodiff.walk import DifferentiationError, Gradients, Rule, Walk, attribute, fixed


def _reshape(walk: Walk, node: ir.Node) -> Gradients:
    return [walk.reshape_like(walk.incoming(node), _source(node))]


def _transpose(walk: Walk, node: ir.Node) -> Gradients:
    perm = attribute(node, "perm", None) or list(reversed(range(walk.rank(_source(node)))))
    return [walk.op("Transpose", walk.incoming(node), perm=[int(axis) for axis in np.argsort(perm)])]


def _expand(walk: Walk, node: ir.Node) -> Gradients:
    return [walk.sum_to(walk.incoming(node), _source(node), node.outputs[0])]


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
    """The gradient where the elements were, zeros elsewhere; steps of 1 or -1 (a reversal)."""
    dy, x = walk.incoming(node), _source(node)
    rank = walk.rank(x)
    starts, stops, axes, steps = (fixed(node, index) for index in range(1, 5))
    assert starts is not None and stops is not None  # Slice always has them
    axes = np.arange(len(starts)) if axes is None else axes % rank
    steps = np.ones(len(starts), np.int64) if steps is None else steps
    before, after = [0] * rank, [0] * rank
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        size = walk.static(x, axis)
        taken = range(size)[slice(int(start), _stop(int(stop), int(step)), int(step))]
        if step not in (1, -1) or not taken:
            raise DifferentiationError(f"node '{node.name}': Slice with a step of {step} has no rule")
        before[axis], after[axis] = min(taken), size - 1 - max(taken)
        if step == -1:
            dy = walk.op("Slice", dy, *(walk.integers(number) for number in (-1, -(2**62), int(axis), -1)))
    return [walk.op("Pad", dy, walk.integers(*before, *after))]


def _stop(stop: int, step: int) -> int | None:
    # ONNX says "to the very start" by a number below any index, which Python would count from the end.
    return None if step < 0 and stop < -(2**30) else stop


def _pad(walk: Walk, node: ir.Node) -> Gradients:
    if attribute(node, "mode", "constant") != "constant":
        raise DifferentiationError(f"node '{node.name}': Pad in mode {attribute(node, 'mode', '')} has no rule")
    pads = fixed(node, 1)
    assert pads is not None  # Pad always has its padding
    axes = fixed(node, 3)
    rank = walk.rank(_source(node))
    full = np.zeros((2, rank), np.int64)
    full[:, list(range(rank)) if axes is None else axes % rank] = pads.reshape(2, -1)
    return [walk.op("Pad", walk.incoming(node), walk.integers(*(-full).ravel().tolist()))]


def _gather(walk: Walk, node: ir.Node) -> Gradients:
    """Elements picked by constant, distinct indices along one axis: each goes back to its place."""
    x, axis = _source(node), attribute(node, "axis", 0) % walk.rank(_source(node))
    indices = fixed(node, 1)
    assert indices is not None  # Gather always has its indices
    size = walk.static(x, axis)
    picked = indices.ravel() % size
    if indices.ndim > 1 or len(set(picked.tolist())) != picked.size:
        raise DifferentiationError(f"node '{node.name}': Gather has a rule for a list of distinct indices only")
    dy = walk.incoming(node)
    if indices.ndim == 0:
        dy = walk.op("Unsqueeze", dy, walk.integers(axis))
    # An index one past the end finds the zeros that are added there.
    back = np.full(size, picked.size, np.int64)
    back[picked] = np.arange(picked.size)
    pads = np.zeros((2, walk.rank(x)), np.int64)
    pads[1, axis] = 1
    padded = walk.op("Pad", dy, walk.integers(*pads.ravel().tolist()))
    return [walk.op("Gather", padded, walk.constant(back), axis=axis)]


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
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
