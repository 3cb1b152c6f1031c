"""Keras networks as ONNX graphs: the only module that knows tf2onnx."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import keras
import onnx
import onnx_ir as ir
import tensorflow as tf
import tf2onnx

from whycam_export.autodiff.simplify import infer_shapes, simplify
from whycam_export.convert.graph import IR_VERSION, OPSET
from whycam_export.errors import ModelError


def to_onnx(model: keras.Model, input_name: str, *output_names: str) -> onnx.ModelProto:
    """Convert a feed-forward Keras network; pictures are NCHW in the graph where they are NHWC in Keras.

    Args:
        model: one input and one or several outputs, [N,H,W,C] or [N,F], float32.
        input_name: the name of the graph's input.
        output_names: the names of the graph's outputs.

    Raises ModelError where tf2onnx cannot convert it.
    """
    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=input_name)

    def call(x: Any) -> list[Any]:
        results = model(x, training=False)
        results = results if isinstance(results, list | tuple) else [results]
        return [tf.identity(result, name=name) for result, name in zip(results, output_names, strict=True)]

    # tf2onnx names what a function returns Identity, Identity_1, ...
    given = [("Identity" if index == 0 else f"Identity_{index}", name) for index, name in enumerate(output_names)]
    pictures = [
        f"{name}:0"
        for names, output in zip(given, model.outputs, strict=True)
        for name in names
        if len(output.shape) == 4
    ]
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    try:
        converted, _ = tf2onnx.convert.from_function(
            tf.function(call, input_signature=[spec]),
            input_signature=[spec],
            opset=OPSET,
            inputs_as_nchw=[input_name, f"{input_name}:0"] if len(model.input_shape) == 4 else None,
            outputs_as_nchw=pictures or None,
        )
    except Exception as error:  # tf2onnx raises whatever the operator that it does not know leads to
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(f"network '{model.name}': tf2onnx cannot convert it ({reason.strip()[:200]})") from error
    return _tidy(converted, input_name, output_names)


def _tidy(converted: onnx.ModelProto, input_name: str, output_names: Sequence[str]) -> onnx.ModelProto:
    model = ir.from_proto(converted)
    model.ir_version = IR_VERSION
    graph = model.graph
    graph.inputs[0].name = input_name
    for output, name in zip(graph.outputs, output_names, strict=True):
        output.name = name
    for value in (graph.inputs[0], *graph.outputs):
        assert value.shape is not None  # tf2onnx annotates inputs and outputs
        value.shape = ir.Shape(("N", *value.shape[1:]))
    infer_shapes(model)
    _fix_reshapes(model)
    simplify(model)
    # tf2onnx lists what a layer captured (a Normalization's statistics) as inputs, though it has folded it in.
    for value in [value for value in graph.inputs[1:] if not value.consumers()]:
        graph.inputs.remove(value)
    return ir.to_proto(model)


def _fix_reshapes(model: ir.Model) -> None:
    """Write down each Reshape's target that is computed from the batch size alone: autodiff and TensorRT want it so."""
    for node in model.graph:
        shape = node.outputs[0].shape
        given = node.inputs[1] if node.op_type == "Reshape" else None
        if given is None or shape is None or ir.convenience.get_const_tensor(given) is not None:
            continue
        fixed = [dim for dim in shape[1:] if isinstance(dim, int)]
        if len(fixed) == len(shape) - 1:
            target = ir.tensor([-1, *fixed], dtype=ir.DataType.INT64, name=f"{node.name}/shape")
            constant = ir.val(f"{node.name}/shape", dtype=ir.DataType.INT64, shape=[len(shape)], const_value=target)
            model.graph.register_initializer(constant)
            node.replace_input_with(1, constant)
