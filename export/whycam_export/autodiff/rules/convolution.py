"""Rule of the convolution, by its input."""

from __future__ import annotations

import onnx_ir as ir

from whycam_export.autodiff.rules.spatial import padding
from whycam_export.autodiff.walk import DifferentiationError, Gradients, Rule, Walk, attribute


def _conv(walk: Walk, node: ir.Node) -> Gradients:
    x, w = node.inputs[0], node.inputs[1]
    assert x is not None and w is not None  # Conv always has input and weights
    if walk.wants(w):
        raise DifferentiationError(f"node '{node.name}': Conv is differentiated by its input only, not by its weights")
    if not walk.wants(x):
        return [None]
    kernel = [walk.static(w, axis) for axis in range(2, walk.rank(w))]
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
        turned = _turned(walk, w, groups)
        return [walk.op("Conv", dy, turned, group=groups, pads=pads, dilations=dilations, kernel_shape=kernel)]
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
            kernel_shape=kernel,
            output_padding=outer,
        )
    ]


def _turned(walk: Walk, w: ir.Value, groups: int) -> ir.Value:
    """[M, C/g, ...] -> [C, M/g, ...], each kernel turned round.

    Written as operators, so that the weights stand in the file once; ONNX Runtime computes them when it loads it.
    """
    m, c, *kernel = walk.dims(w)
    assert m is not None and c is not None  # weights are static
    axes = range(2, 2 + len(kernel))
    if groups == 1:
        swapped = walk.op("Transpose", w, perm=[1, 0, *axes])
    else:
        grouped = walk.op("Reshape", w, walk.integers(groups, m // groups, c, *(size or 0 for size in kernel)))
        crossed = walk.op("Transpose", grouped, perm=[0, 2, 1, *(axis + 1 for axis in axes)])
        swapped = walk.op("Reshape", crossed, walk.integers(groups * c, m // groups, *(size or 0 for size in kernel)))
    if all(size == 1 for size in kernel):
        return swapped
    ends = walk.integers(*([-(2**62)] * len(kernel)))
    back = walk.integers(*([-1] * len(kernel)))
    return walk.op("Slice", swapped, back, ends, walk.integers(*axes), back)


RULES: dict[str, Rule] = {"Conv": _conv}
