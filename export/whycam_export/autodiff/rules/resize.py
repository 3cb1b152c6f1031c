"""Rule of the resizing of pictures: an interpolation along an axis is a product with a constant matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import helper, numpy_helper

from whycam_export.autodiff.rules.axes import mix_back
from whycam_export.autodiff.walk import DifferentiationError, Gradients, Rule, Walk, attribute, fixed


def _resize(walk: Walk, node: ir.Node) -> Gradients:
    """Nearest, linear and cubic interpolation in all coordinate modes but crops; the axes one after the other."""
    dy, x, y = walk.incoming(node), node.inputs[0], node.outputs[0]
    assert x is not None  # Resize always has its input
    if attribute(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize":
        raise DifferentiationError(f"node '{node.name}': Resize of a crop has no rule; crop by a Slice")
    if attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise DifferentiationError(
            f"node '{node.name}': Resize that keeps the aspect ratio has no rule; give its sizes"
        )
    rank = walk.rank(x)
    axes = [axis % rank for axis in attribute(node, "axes", None) or range(rank)]
    scales = fixed(node, 2)
    for place, axis in enumerate(axes):
        scale = None if scales is None or scales.size == 0 else float(scales[place])
        # The batch dimension may be free where it stays as it is.
        if scale == 1 or walk.dims(x)[axis] == walk.dims(y)[axis]:
            continue
        dy = mix_back(walk, dy, axis, _matrix(node, walk.static(x, axis), walk.static(y, axis), scale), rank)
        dy.dtype = walk.dtype(x)
    return [dy]


def _matrix(node: ir.Node, size: int, resized: int, scale: float | None) -> np.ndarray[Any, Any]:
    """[resized, size]: what ONNX Runtime makes of each unit vector, so the modes are its own."""
    attributes = {
        name: found.value for name, found in node.attributes.items() if name not in ("axes", "keep_aspect_ratio_policy")
    }
    target = (
        [numpy_helper.from_array(np.array([1, 1, 1, scale], np.float32), "scales")]
        if scale is not None
        else [numpy_helper.from_array(np.array([1, size, 1, resized], np.int64), "sizes")]
    )
    operands = ["x", "", "scales"] if scale is not None else ["x", "", "", "sizes"]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Resize", operands, ["y"], **attributes)],
        "resize",
        [helper.make_tensor_value_info("x", kind, [1, size, 1, size])],
        [helper.make_tensor_value_info("y", kind, None)],
        target,
    )
    probe = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    units = np.eye(size, dtype=np.float32).reshape(1, size, 1, size)
    matrix: np.ndarray[Any, Any] = session.run(None, {"x": units})[0].reshape(size, resized).T
    return matrix


RULES: dict[str, Rule] = {"Resize": _resize}
