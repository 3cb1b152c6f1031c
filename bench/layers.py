"""The layers of an ONNX graph that multiply and add up: how much, and what they read and write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Layer:
    """A convolution, matrix product or recurrent layer; all counts are of elements, not of bytes."""

    operator: str
    products: int
    """Multiply-adds."""
    weights: int
    """Elements of its inputs that do not depend on the graph's inputs."""
    activations: int
    """Elements of its other inputs and of its outputs."""


@dataclass(frozen=True)
class Graph:
    """What a graph costs for inputs of one size."""

    nodes: int
    """Those that depend on the graph's inputs: the others are folded into constants before it runs."""
    parameters: int
    """Elements of its constants, each once however often it is read."""
    layers: tuple[Layer, ...]

    @property
    def products(self) -> int:
        """Multiply-adds of all layers."""
        return sum(layer.products for layer in self.layers)


def count(model: onnx.ModelProto, batch: int = 1) -> Graph:
    """Count the layers of `model`, with `batch` for its open dimensions; KeyError where a shape cannot be inferred."""
    import onnx

    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    for value in sized.graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_value = batch
    # Shapes that the exporter wrote down hold N, and would win over those of this batch.
    del sized.graph.value_info[:]
    for value in sized.graph.output:
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(sized, data_prop=True).graph
    known = {
        value.name: tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.output, *graph.input)
        # An open dimension would be counted as nought, and an open shape as one element.
        if value.type.tensor_type.HasField("shape")
        and all(dimension.HasField("dim_value") for dimension in value.type.tensor_type.shape.dim)
    }
    known |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    constants = {tensor.name for tensor in graph.initializer}
    layers, nodes = [], 0
    for node in graph.node:
        if all(name in constants for name in node.input if name):
            constants.update(node.output)
            continue
        nodes += 1
        products = _products(node, known)
        if products is not None:
            reads = [name for name in node.input if name]
            layers.append(
                Layer(
                    node.op_type,
                    products,
                    sum(prod(known[name]) for name in reads if name in constants),
                    sum(prod(known[name]) for name in reads if name not in constants)
                    + sum(prod(known[name]) for name in node.output if name),
                )
            )
    return Graph(nodes, sum(prod(tensor.dims) for tensor in graph.initializer), tuple(layers))


def _products(node: onnx.NodeProto, known: Mapping[str, tuple[int, ...]]) -> int | None:
    """The multiply-adds of `node`; None where it is no layer."""
    if node.op_type == "Conv":
        return prod(known[node.output[0]]) * prod(known[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        return prod(known[node.input[0]]) * prod(known[node.input[1]][1:])
    if node.op_type == "MatMul":
        return prod(known[node.output[0]]) * known[node.input[0]][-1]
    if node.op_type == "Gemm":
        left = known[node.input[0]]
        return prod(known[node.output[0]]) * left[0 if _integer(node, "transA") else 1]
    if node.op_type in ("GRU", "LSTM"):
        # x [T, N, F], W [directions, gates H, F], R [directions, gates H, H]
        steps, batch, _ = known[node.input[0]]
        return steps * batch * (prod(known[node.input[1]]) + prod(known[node.input[2]]))
    return None


def _integer(node: onnx.NodeProto, name: str) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), 0)
