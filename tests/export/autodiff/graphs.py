"""Small graphs for the tests: x -> y, and what a differentiated graph gives on ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from whycam_export.autodiff import differentiate

Array = np.ndarray[Any, Any]


def graph(nodes: list[onnx.NodeProto], shape: tuple[Any, ...], constants: dict[str, Array]) -> onnx.ModelProto:
    """A float32 model of `nodes` from `x` of `shape` to `y`; an opset that knows Gelu."""
    initializers = [
        numpy_helper.from_array(array.astype(np.float32) if array.dtype.kind == "f" else array, name)
        for name, array in constants.items()
    ]
    made = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        initializers,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def run(model: onnx.ModelProto, **feed: Array) -> dict[str, Array]:
    """All outputs by name."""
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feed), strict=True))


def handed_down(model: onnx.ModelProto, x: Array, vector: Array, rules: str, by: str = "x", **options: bool) -> Array:
    """What arrives at `by` when `vector` is put on `y`, by the book `rules`."""
    differentiated = differentiate(model, ["y"], [by], rules, **options)
    return run(differentiated, x=x.astype(np.float32), grad_y=vector.astype(np.float32))[f"grad_{by}"]
