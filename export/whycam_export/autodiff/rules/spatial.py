"""What convolution and pooling share: explicit padding, windows of the input, and their sum back onto it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from whycam_export.autodiff.walk import DifferentiationError, Walk, attribute


def padding(walk: Walk, node: ir.Node, reach: Sequence[int], strides: Sequence[int]) -> tuple[list[int], list[int]]:
    """The padding before and after each spatial axis, `auto_pad` resolved by the static input size."""
    count = len(reach)
    mode = attribute(node, "auto_pad", "NOTSET")
    if mode == "VALID":
        return [0] * count, [0] * count
    if mode == "NOTSET":
        pads = attribute(node, "pads", None) or [0] * (2 * count)
        return list(pads[:count]), list(pads[count:])
    x = node.inputs[0]
    assert x is not None  # a spatial operator always has its input
    before, after = [], []
    for axis in range(count):
        size = walk.static(x, axis + 2)
        total = max((-(-size // strides[axis]) - 1) * strides[axis] + reach[axis] - size, 0)
        less, more = total // 2, total - total // 2
        before.append(less if mode == "SAME_UPPER" else more)
        after.append(more if mode == "SAME_UPPER" else less)
    return before, after


class Windows:
    """The windows of a 2-D pooling over [N,C,h,w]: its output is [N,C,p,q], window (i,j) starts at (i*s-b, j*s-b)."""

    def __init__(self, walk: Walk, node: ir.Node) -> None:
        x = node.inputs[0]
        assert x is not None  # pooling always has its input
        if walk.rank(x) != 4:
            raise DifferentiationError(
                f"node '{node.name}': {node.op_type} is differentiated over images [N,C,h,w] only"
            )
        if any(dilation != 1 for dilation in attribute(node, "dilations", None) or [1]):
            raise DifferentiationError(f"node '{node.name}': {node.op_type} with dilations has no rule")
        self.walk = walk
        self.x = x
        self.kernel: list[int] = attribute(node, "kernel_shape", None)
        self.strides: list[int] = attribute(node, "strides", None) or [1, 1]
        self.size = [walk.static(x, 2), walk.static(x, 3)]
        self.count = [walk.static(node.outputs[0], 2), walk.static(node.outputs[0], 3)]
        self.before, self.after = padding(walk, node, self.kernel, self.strides)
        # Up to where the windows reach in the padded input (ceil_mode may reach further, floor less far).
        self.span = [(n - 1) * s + k for n, s, k in zip(self.count, self.strides, self.kernel, strict=True)]

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """The places within a window, row by row."""
        return [(i, j) for i in range(self.kernel[0]) for j in range(self.kernel[1])]

    @property
    def tiled(self) -> bool:
        """Whether the windows lie side by side, all within the input."""
        inside = all(span <= size for span, size in zip(self.span, self.size, strict=True))
        return self.kernel == self.strides and inside and not any([*self.before, *self.after])

    def covered(self) -> ir.Value:
        """The part of the input that tiled windows cover, [N,C,p*k,q*m]."""
        if self.span == self.size:
            return self.x
        ends = self.walk.integers(*self.span)
        return self.walk.op("Slice", self.x, self.walk.integers(0, 0), ends, self.walk.integers(2, 3))

    def uncovered(self, covered: ir.Value) -> ir.Value:
        """`covered` with zeros for what tiled windows leave over, [N,C,h,w]."""
        left = [size - span for size, span in zip(self.size, self.span, strict=True)]
        return self.walk.op("Pad", covered, self.walk.integers(0, 0, 0, 0, 0, 0, *left)) if any(left) else covered

    def spread(self, value: ir.Value) -> ir.Value:
        """Each element of [N,C,p,q] in its whole tiled window, [N,C,p*k,q*m]."""
        scales = self.walk.constant(np.array([1, 1, *self.kernel], np.float32))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.walk.op("Resize", value, None, scales, **how)

    def elements(self, fill: float) -> list[ir.Value]:
        """For each place within the windows its elements, [N,C,p,q]; what lies in the padding is `fill`."""
        walk = self.walk
        ends = [
            max(span - before - size, 0) for span, before, size in zip(self.span, self.before, self.size, strict=True)
        ]
        pads = [0, 0, *self.before, 0, 0, *ends]
        padded = walk.op("Pad", self.x, walk.integers(*pads), walk.constant(fill, like=self.x)) if any(pads) else self.x
        found = []
        for i, j in self.offsets:
            starts, steps = walk.integers(i, j), walk.integers(*self.strides)
            stops = walk.integers(
                *(o + (n - 1) * s + 1 for o, n, s in zip((i, j), self.count, self.strides, strict=True))
            )
            found.append(walk.op("Slice", padded, starts, stops, walk.integers(2, 3), steps))
        return found

    def gather(self, parts: Sequence[ir.Value]) -> ir.Value:
        """Sum [N,C,p,q] for each place within the windows onto the input's [N,C,h,w]."""
        walk = self.walk
        channels = walk.static(self.x, 1)
        total: ir.Value | None = None
        if self.kernel == self.strides:
            total = self._tile(parts, channels)
        else:
            for (i, j), part in zip(self.offsets, parts, strict=True):
                spread = self._dilate(part, channels)
                ends = [
                    span - o - (n - 1) * s - 1
                    for span, o, n, s in zip(self.span, (i, j), self.count, self.strides, strict=True)
                ]
                placed = walk.op("Pad", spread, walk.integers(0, 0, i, j, 0, 0, *ends))
                total = placed if total is None else walk.op("Add", total, placed)
        assert total is not None  # a window has at least one place
        # Negative padding crops what lay in the padding and adds what no window reached.
        starts = [-before for before in self.before]
        ends = [size + before - span for size, before, span in zip(self.size, self.before, self.span, strict=True)]
        pads = [0, 0, *starts, 0, 0, *ends]
        return walk.op("Pad", total, walk.integers(*pads)) if any(pads) else total

    def _tile(self, parts: Sequence[ir.Value], channels: int) -> ir.Value:
        """Windows side by side: no sums, the places interleave."""
        walk, (p, q), (k, m) = self.walk, self.count, self.kernel
        stacked = walk.op("Concat", *(walk.op("Unsqueeze", part, walk.integers(4)) for part in parts), axis=4)
        split = walk.op("Reshape", stacked, walk.integers(-1, channels, p, q, k, m))
        woven = walk.op("Transpose", split, perm=[0, 1, 2, 4, 3, 5])
        return walk.op("Reshape", woven, walk.integers(-1, channels, p * k, q * m))

    def _dilate(self, part: ir.Value, channels: int) -> ir.Value:
        """[N,C,p,q] -> [N,C,(p-1)*s+1,(q-1)*s+1] with zeros between."""
        if self.strides == [1, 1]:
            return part
        walk, (p, q), (s, r) = self.walk, self.count, self.strides
        apart = walk.op("Reshape", part, walk.integers(-1, channels, p, 1, q, 1))
        zeros = walk.op("Pad", apart, walk.integers(0, 0, 0, 0, 0, 0, 0, 0, 0, s - 1, 0, r - 1))
        joined = walk.op("Reshape", zeros, walk.integers(-1, channels, p * s, q * r))
        cut = walk.integers((p - 1) * s + 1, (q - 1) * r + 1)
        return walk.op("Slice", joined, walk.integers(0, 0), cut, walk.integers(2, 3))


def lowest(walk: Walk, value: ir.Value) -> float:
    """The lowest finite number of the element type of `value`."""
    return float(np.finfo(walk.dtype(value).numpy()).min)
