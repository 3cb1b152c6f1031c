"""Keras networks as ONNX graphs: the only module that knows tf2onnx."""

from __future__ import annotations

import logging

import keras
import onnx
import onnx_ir as ir
import tensorflow as tf
import tf2onnx

from whycam_export.autodiff.simplify import infer_shapes, simplify
from whycam_export.convert.graph import IR_VERSION, OPSET
from whycam_export.errors import ModelError


def to_onnx(model: keras.Model, input_name: str, output_name: str) -> onnx.ModelProto:
    """Convert a feed-forward Keras network; pictures are NCHW in the graph where they are NHWC in Keras.

    Args:
        model: one input and one output, [N,H,W,C] or [N,F], float32.
        input_name: the name of the graph's input.
        output_name: the name of the graph's output.

    Raises ModelError where tf2onnx cannot convert it.
    """
    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=input_name)
    function = tf.function(lambda x: tf.identity(model(x, training=False), name=output_name), input_signature=[spec])
    pictures_out = [f"{output_name}:0", "Identity:0"] if len(model.output_shape) == 4 else None
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    try:
        converted, _ = tf2onnx.convert.from_function(
            function,
            input_signature=[spec],
            opset=OPSET,
            inputs_as_nchw=[input_name, f"{input_name}:0"] if len(model.input_shape) == 4 else None,
            outputs_as_nchw=pictures_out,
        )
    except Exception as error:  # tf2onnx raises whatever the operator that it does not know leads to
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(f"network '{model.name}': tf2onnx cannot convert it ({reason.strip()[:200]})") from error
    return _tidy(converted, input_name, output_name)


def _tidy(converted: onnx.ModelProto, input_name: str, output_name: str) -> onnx.ModelProto:
    model = ir.from_proto(converted)
    model.ir_version = IR_VERSION
    graph = model.graph
    graph.inputs[0].name, graph.outputs[0].name = input_name, output_name
    for value in (graph.inputs[0], graph.outputs[0]):
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
