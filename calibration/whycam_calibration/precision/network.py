"""The feature extractor as it is quantized: batch normalization folded, shapes known, layers named."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from whycam.bundle import Bundle
from whycam.errors import BundleError
from whycam_calibration.errors import CalibrationError

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose weights are quantized."""


@dataclass(frozen=True)
class Layer:
    """A node with weights."""

    node: str
    name: str
    """The model's layer, as far as its name can be told from the graph."""
    weights: int


@dataclass(frozen=True, eq=False)
class Network:
    """A feature extractor, frames -> features and maps."""

    model: onnx.ModelProto
    layers: tuple[Layer, ...]
    """In the order of the data."""

    @cached_property
    def producers(self) -> dict[str, onnx.NodeProto]:
        """The node that gives each value, by the value's name."""
        return {output: node for node in self.model.graph.node for output in node.output}

    @cached_property
    def constants(self) -> frozenset[str]:
        """Names of the values that stand in the file."""
        return frozenset(tensor.name for tensor in self.model.graph.initializer)

    @cached_property
    def after_weights(self) -> frozenset[str]:
        """Names of the nodes that lie behind a layer with weights, and of those layers; the rest is preprocessing."""
        behind: set[str] = set()
        values: set[str] = set()
        nodes = {layer.node for layer in self.layers}
        for node in self.model.graph.node:
            if node.name in nodes or values & set(node.input):
                behind.add(node.name)
                values |= set(node.output)
        return frozenset(behind)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of float values for one frame, 0 where a dimension is not known."""
        graph = self.model.graph
        return {
            value.name: tuple(dim.dim_value or (1 if axis == 0 else 0) for axis, dim in enumerate(kind.shape.dim))
            for value in (*graph.value_info, *graph.output)
            # Of values that were folded away the annotation may have stayed.
            if (kind := value.type.tensor_type).elem_type == TensorProto.FLOAT and value.name in self.producers
        }

    def sources(self, value: str) -> set[str]:
        """The layers and sums that `value` comes from with no other in between: names of nodes."""
        node = self.producers.get(value)
        if node is None:
            return set()
        if node.op_type in WEIGHTED or (node.op_type == "Add" and not self.constants & set(node.input)):
            return {node.name}
        return {found for given in node.input for found in self.sources(given)}


def read_network(bundle: Bundle) -> Network:
    """The fp32 feature extractor of `bundle`.

    Raises BundleError where it cannot be read, CalibrationError where it has no layer with weights.
    """
    import onnxruntime

    path = bundle.file(bundle.manifest.precisions["fp32"])
    try:
        original = onnx.load(path)
        with tempfile.TemporaryDirectory(prefix="whycam-") as folder:
            folded = Path(folder) / "folded.onnx"
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            # The basic rewrites stay within ONNX: constants folded, normalization and scales merged into convolutions.
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
            options.optimized_model_filepath = str(folded)
            onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            model = onnx.load(folded)
    except Exception as error:  # neither ONNX nor ONNX Runtime has a common base for what a damaged file raises
        reason = " ".join(str(error).split())[:200]
        raise BundleError(f"{path}: cannot be read as ONNX ({reason}); export the model again") from error
    return network_of(model, original)


def network_of(model: onnx.ModelProto, original: onnx.ModelProto | None = None) -> Network:
    """`model` as a network; layers are named by `original`, of which it was made."""
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    used = {node.domain for node in model.graph.node} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    model = onnx.shape_inference.infer_shapes(model)
    names = {node.name: layer_name(node) for node in (original or model).graph.node if node.name}
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    layers = tuple(
        Layer(node.name, names.get(node.name) or layer_name(node), sizes[node.input[1]])
        for node in model.graph.node
        if node.op_type in WEIGHTED and node.input[1] in sizes
    )
    if not layers:
        raise CalibrationError("the feature extractor has no convolution or dense layer: there is nothing to quantize")
    return Network(model, layers)


def layer_name(node: onnx.NodeProto) -> str:
    """The Keras layer that `node` was converted from, by its name or its weights'; the node's own where it is not told.

    Keras numbers each scope behind the layer's own name: `lower/functional_1/block1_conv1_1/convolution` is of the
    layer `block1_conv1`.
    """
    for text in (node.name, *node.input[1:]):
        scopes = re.split(r"[/:]", text)[:-1]
        for scope in reversed(scopes):
            if re.fullmatch(r".+_\d+", scope) and not re.match(r"(functional|sequential|model)(_\d+)+$", scope):
                return scope.rpartition("_")[0]
    return node.name


def names_of(network: Network, nodes: Sequence[str] | frozenset[str]) -> tuple[str, ...]:
    """The layers' names of `nodes`, in the order of the data."""
    return tuple(layer.name for layer in network.layers if layer.node in nodes)
