"""Building ONNX graphs node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from whycam_export.autodiff.simplify import simplify

OPSET = 18
IR_VERSION = 9  # what ONNX Runtime 1.17 and later read: JetPack's wheels lag behind


class GraphBuilder:
    """A graph under construction: operators and constants are added, `build` closes it."""

    def __init__(self) -> None:
        self._tape = ir.tape.Tape()
        self._constants: dict[str, ir.Value] = {}

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """Add a node with one output."""
        return self._tape.op(op_type, inputs, attributes)

    def ops(self, op_type: str, count: int, *inputs: ir.Value | None, **attributes: Any) -> Sequence[ir.Value]:
        """Add a node with `count` outputs."""
        return self._tape.op_multi_out(op_type, inputs, attributes, num_outputs=count)

    def constant(self, name: str, array: np.ndarray[Any, Any]) -> ir.Value:
        """The constant `name`: stored once, whoever asks for it."""
        if name not in self._constants:
            tensor = ir.tensor(np.array(array, order="C"), name=name)
            self._constants[name] = self._tape.initializer(tensor, name=name)
        return self._constants[name]

    def integers(self, *numbers: int) -> ir.Value:
        """A constant int64 [len(numbers)]."""
        return self.constant(f"integers {numbers}", np.array(numbers, dtype=np.int64))

    def number(self, value: float) -> ir.Value:
        """A constant f32 scalar."""
        return self.constant(f"number {value}", np.array(value, dtype=np.float32))

    def build(self, name: str, inputs: Sequence[ir.Value], outputs: Mapping[str, ir.Value]) -> onnx.ModelProto:
        """Close the graph with the given inputs and named f32 outputs."""
        # An Identity gives each output a name of its own, even where one value is two outputs; simplify removes it.
        results = [self.op("Identity", value) for value in outputs.values()]
        for output, result in zip(outputs, results, strict=True):
            result.name, result.dtype = output, ir.DataType.FLOAT
        graph = ir.Graph(
            inputs=inputs,
            outputs=results,
            nodes=self._tape.nodes,
            initializers=self._tape.initializers,
            opset_imports={"": OPSET},
            name=name,
        )
        model = ir.Model(graph, ir_version=IR_VERSION, producer_name="whycam")
        simplify(model)
        return ir.to_proto(model)


def float_input(name: str, *shape: int | str) -> ir.Value:
    """A graph input of type f32."""
    return ir.val(name, dtype=ir.DataType.FLOAT, shape=ir.Shape(shape))


def rename(model: onnx.ModelProto, names: Mapping[str, str]) -> onnx.ModelProto:
    """`model` with its values renamed."""
    graph_model = ir.from_proto(model)
    graph = graph_model.graph
    for value in [*graph.inputs, *graph.outputs, *(value for node in graph for value in node.outputs)]:
        if value.name is not None and value.name in names:
            value.name = names[value.name]
    return ir.to_proto(graph_model)
