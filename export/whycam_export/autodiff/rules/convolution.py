"""Rule of the convolution, by its input."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from whycam_export.autodiff.rules.spatial import padding
from whycam_export.autodiff.walk import DifferentiationError, Gradients, Rule, Walk, attribute, fixed


def _conv(walk: Walk, node: ir.Node) -> Gradients:
    x, w = node.inputs[0], fixed(node, 1)
    assert x is not None and w is not None  # Conv always has input and weights
    if not walk.wants(x):
        return [None]
    kernel = w.shape[2:]
    axes = range(len(kernel))
    strides = attribute(node, "strides", None) or [1 for _ in axes]
    dilations = attribute(node, "dilations", None) or [1 for _ in axes]
    groups = attribute(node, "group", 1)
    reach = [dilations[axis] * (kernel[axis] - 1) + 1 for axis in axes]
    before, after = padding(walk, node, reach, strides)
    dy = walk.incoming(node)
    if all(stride == 1 for stride in strides) and all(
        max(b, a) < r for b, a, r in zip(before, after, reach, strict=True)
    ):
        # A plain convolution with the kernel flipped: faster in ONNX Runtime than ConvTranspose.
        pads = [r - 1 - b for r, b in zip(reach, before, strict=True)] + [
            r - 1 - a for r, a in zip(reach, after, strict=True)
        ]
        flipped = walk.constant(_flipped(w, groups))
        return [walk.op("Conv", dy, flipped, group=groups, pads=pads, dilations=dilations, kernel_shape=list(kernel))]
    outer = []
    for axis in axes:
        size = walk.static(x, axis + 2)
        covered = (walk.static(node.outputs[0], axis + 2) - 1) * strides[axis] + reach[axis]
        outer.append(size + before[axis] + after[axis] - covered)
    if any(extra >= stride for extra, stride in zip(outer, strides, strict=True)):
        raise DifferentiationError(
            f"node '{node.name}': Conv leaves more of its input unread than a stride; reduce its padding"
        )
    # Rows that no window reached (output_padding) get zeros, which ConvTranspose adds at the end.
    return [
        walk.op(
            "ConvTranspose",
            dy,
            node.inputs[1],
            group=groups,
            pads=[*before, *after],
            strides=strides,
            dilations=dilations,
            kernel_shape=list(kernel),
            output_padding=outer,
        )
    ]


def _flipped(w: np.ndarray, groups: int) -> np.ndarray:
    """[M, C/g, ...] -> [C, M/g, ...], each kernel turned round."""
    m, c, *kernel = w.shape
    grouped = w.reshape(groups, m // groups, c, *kernel).swapaxes(1, 2)
    turned = grouped.reshape(groups * c, m // groups, *kernel)
    return np.flip(turned, axis=tuple(range(2, turned.ndim)))


RULES: dict[str, Rule] = {"Conv": _conv}
