"""Rules of the poolings over images [N,C,h,w]."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from whycam_export.autodiff.rules.spatial import Windows, lowest
from whycam_export.autodiff.walk import DifferentiationError, Gradients, Rule, Walk, attribute


def _max_pool(walk: Walk, node: ir.Node) -> Gradients:
    """The gradient goes to each window's first maximum, row by row, as in TensorFlow.

    Equal maxima are common in flat parts of a picture, so an equality mask alone would count the gradient twice.
    MaxUnpool and MaxPool's indices would do, but TensorRT has neither.
    """
    windows = Windows(walk, node)
    return [_tiled_max_pool(windows, node) if windows.tiled else _overlapping_max_pool(windows, node)]


def _tiled_max_pool(windows: Windows, node: ir.Node) -> ir.Value:
    """Windows side by side: the maxima are ranked by their place, and the first is the pool's own maximum of the ranks.

    All is done on whole pictures, which takes a sixth of the time of the windows' places one by one.
    """
    walk, y = windows.walk, node.outputs[0]
    dy = walk.incoming(node)
    x = windows.covered()
    places = np.arange(len(windows.offsets), 0, -1).reshape(1, 1, *windows.kernel)
    ranks = walk.constant(np.tile(places, (1, 1, *windows.count)), like=y)
    ranked = walk.where(walk.op("Equal", x, windows.spread(y)), ranks, like=y)
    first = walk.op("MaxPool", ranked, kernel_shape=windows.kernel, strides=windows.strides)
    return windows.uncovered(walk.where(walk.op("Equal", ranked, windows.spread(first)), windows.spread(dy), like=y))


def _overlapping_max_pool(windows: Windows, node: ir.Node) -> ir.Value:
    walk, y = windows.walk, node.outputs[0]
    left = walk.incoming(node)
    parts = []
    for element in windows.elements(fill=lowest(walk, y)):
        part = walk.where(walk.op("Equal", element, y), left, like=y)
        parts.append(part)
        left = walk.op("Sub", left, part)
    return windows.gather(parts)


def _average_pool(walk: Walk, node: ir.Node) -> Gradients:
    dy = walk.incoming(node)
    if attribute(node, "ceil_mode", 0):
        raise DifferentiationError(f"node '{node.name}': AveragePool with ceil_mode has no rule")
    windows = Windows(walk, node)
    if attribute(node, "count_include_pad", 0):
        counts = np.full(windows.count, windows.kernel[0] * windows.kernel[1])
    else:
        inside = [
            [
                min(n * s - b + k, size) - max(n * s - b, 0)
                for n in range(windows.count[axis])
                for s, b, k, size in [
                    (windows.strides[axis], windows.before[axis], windows.kernel[axis], windows.size[axis])
                ]
            ]
            for axis in (0, 1)
        ]
        counts = np.outer(inside[0], inside[1])
    share = walk.op("Div", dy, walk.constant(counts, like=dy))
    return [windows.gather([share] * len(windows.offsets))]


def _global_average_pool(walk: Walk, node: ir.Node) -> Gradients:
    dy, x = walk.incoming(node), node.inputs[0]
    assert x is not None  # pooling always has its input
    area = int(np.prod([walk.static(x, axis) for axis in range(2, walk.rank(x))]))
    ones = walk.constant(np.full([1, 1, *(walk.static(x, axis) for axis in range(2, walk.rank(x)))], 1 / area), like=x)
    return [walk.op("Mul", dy, ones)]


def _global_max_pool(walk: Walk, node: ir.Node) -> Gradients:
    """Equal maxima share the gradient, as in TensorFlow's reduce_max."""
    dy, x, y = walk.incoming(node), node.inputs[0], node.outputs[0]
    assert x is not None  # pooling always has its input
    mask = walk.op("Cast", walk.op("Equal", x, y), to=int(walk.dtype(x)))
    ties = walk.op("ReduceSum", mask, walk.integers(*range(2, walk.rank(x))), keepdims=1)
    return [walk.op("Mul", mask, walk.op("Div", dy, ties))]


RULES: dict[str, Rule] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "MaxPool": _max_pool,
}
