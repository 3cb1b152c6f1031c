"""What the rules work with: the operators they emit, the shapes they ask for, the gradients gathered so far."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir

from whycam.errors import WhycamError

Gradients = Sequence["ir.Value | None"]
Rule = Callable[["Walk", ir.Node], Gradients]
"""(walk, node) -> a gradient per input of the node, None where there is none."""


CONSTANT = "autodiff_constant_"
"""What the names of the rules' constants begin with."""


class DifferentiationError(WhycamError, ValueError):
    """A graph that cannot be differentiated: an operator without a rule, a shape that is not known."""


class Walk:
    """One reverse walk over a graph; `active` are the values that depend on what is differentiated by."""

    def __init__(self, active: set[ir.Value]) -> None:
        self.tape = ir.tape.Tape()
        self._active = active
        self._gradients: dict[ir.Value, list[ir.Value]] = {}
        self._constants = 0

    def step_back(self, node: ir.Node, book: Mapping[str, Rule]) -> None:
        """Add to the gradients of the inputs of `node` what comes through its outputs."""
        if not any(value in self._active and value in self._gradients for value in node.outputs):
            return
        rule = book.get(node.op_type) if node.domain == "" else None
        if rule is None:
            raise DifferentiationError(no_rule(node, book))
        for value, gradient in zip(node.inputs, rule(self, node), strict=False):
            if value is not None and gradient is not None and self.wants(value):
                self.accumulate(value, gradient)

    def incoming(self, node: ir.Node) -> ir.Value:
        """The gradient of the first output of `node`; raises DifferentiationError where another output has one too."""
        if any(value in self._gradients for value in node.outputs[1:]):
            raise DifferentiationError(
                f"node '{node.name}': only the first output of {node.op_type} can be differentiated"
            )
        gradient = self.gradient(node.outputs[0])
        assert gradient is not None  # step_back came here because an output has one, and it is not another
        return gradient

    def accumulate(self, value: ir.Value, gradient: ir.Value) -> None:
        """Add `gradient` to the gradient of `value`."""
        if gradient.shape is None:
            gradient.shape, gradient.dtype = value.shape, self.dtype(value)
        self._gradients.setdefault(value, []).append(gradient)

    def gradient(self, value: ir.Value) -> ir.Value | None:
        """The sum of the gradients that reached `value`; None where there are none."""
        parts = self._gradients.get(value, [])
        if not parts:
            return None
        total = parts[0]
        for part in parts[1:]:
            total = self.op("Add", total, part)
            total.shape, total.dtype = value.shape, self.dtype(value)
        self._gradients[value] = [total]
        return total

    @contextmanager
    def differentiating(self, value: ir.Value) -> Iterator[None]:
        """While this lasts `value` is one of those that are differentiated by."""
        known = value in self._active
        self._active.add(value)
        yield
        if not known:
            self._active.discard(value)

    def wants(self, value: ir.Value | None) -> bool:
        """Whether `value` depends on an input that is differentiated by."""
        return value is not None and value in self._active

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """Emit a node with one output."""
        return self.tape.op(op_type, inputs, attributes)

    def constant(self, array: Any, like: ir.Value | None = None) -> ir.Value:
        """Emit a constant; a Python number takes the element type of `like`."""
        if like is not None:
            array = np.asarray(array, dtype=self.dtype(like).numpy())
        self._constants += 1
        return self.tape.initializer(ir.tensor(np.array(array, order="C")), name=f"{CONSTANT}{self._constants}")

    def integers(self, *numbers: int) -> ir.Value:
        """Emit a constant int64 [len(numbers)]."""
        return self.constant(np.array(numbers, dtype=np.int64))

    def dtype(self, value: ir.Value) -> ir.DataType:
        """The element type of `value`; raises DifferentiationError where it is not known."""
        if value.dtype is None:
            raise DifferentiationError(
                f"value '{value.name}': its element type cannot be inferred; add it to value_info"
            )
        return value.dtype

    def dims(self, value: ir.Value) -> list[int | None]:
        """The dimensions of `value`, None for one that is not static; raises DifferentiationError without a rank."""
        if value.shape is None:
            raise DifferentiationError(
                f"value '{value.name}': its shape cannot be inferred; give the model's inputs static shapes"
            )
        return [dim if isinstance(dim, int) else None for dim in value.shape]

    def static(self, value: ir.Value, axis: int) -> int:
        """The static dimension `axis` of `value`; raises DifferentiationError where it is not static."""
        dim = self.dims(value)[axis]
        if dim is None:
            raise DifferentiationError(
                f"value '{value.name}': dimension {axis} must be static; fix the model's input shape"
            )
        return dim

    def rank(self, value: ir.Value) -> int:
        """The number of dimensions of `value`."""
        return len(self.dims(value))

    def reshape_like(self, gradient: ir.Value, value: ir.Value) -> ir.Value:
        """`gradient` in the shape of `value`; one dimension may be free."""
        dims = self.dims(value)
        if dims.count(None) > 1:
            return self.op("Reshape", gradient, self.op("Shape", value))
        return self.op("Reshape", gradient, self.integers(*(-1 if dim is None else dim for dim in dims)))

    def zeros_like(self, value: ir.Value) -> ir.Value:
        """Zeros in the shape of `value`."""
        return self.op("Mul", value, self.constant(0, like=value))

    def where(self, mask: ir.Value, gradient: ir.Value, like: ir.Value) -> ir.Value:
        """`gradient`, of the element type of `like`, where `mask` holds, else 0.

        As a product: on a CPU ONNX Runtime takes several times as long for its Where.
        """
        return self.op("Mul", gradient, self.op("Cast", mask, to=int(self.dtype(like))))

    def sum_to(self, gradient: ir.Value, value: ir.Value, result: ir.Value) -> ir.Value:
        """Undo the broadcasting of `value` to `result`: sum `gradient` over the axes along which it was repeated."""
        dims, wide = self.dims(value), self.dims(result)
        lead = len(wide) - len(dims)
        repeated = [lead + axis for axis, dim in enumerate(dims) if dim == 1 and wide[lead + axis] != 1]
        if repeated:
            gradient = self.op("ReduceSum", gradient, self.integers(*repeated), keepdims=1)
        if lead:
            gradient = self.op("ReduceSum", gradient, self.integers(*range(lead)), keepdims=0)
        return gradient


def no_rule(node: ir.Node, book: Mapping[str, Rule]) -> str:
    """What is said of a node whose operator `book` does not have: the operator, the node, the model's layer."""
    kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    layer = layer_of(node.name)
    place = f"node '{node.name}'" + (f" of layer '{layer}'" if layer else "")
    if kind in ("GRU", "LSTM", "RNN", "Loop", "Scan"):
        return (
            f"{place}: the recurrent operator {kind} has no differentiation rule; unroll it over its frames into "
            "matrix products and activations, as whycam_export.convert.head.gradient_graph does"
        )
    return f"{place}: operator {kind} has no differentiation rule; {', '.join(sorted(book))} have one"


def layer_of(node_name: str | None) -> str:
    """The path of the Keras layer in the name that tf2onnx gave a node; empty where there is none.

    `StatefulPartitionedCall/vgg19_1/block1_conv1_1/convolution` -> `vgg19/block1_conv1`: the last part is the
    operation, and Keras numbers each scope of a traced call behind the layer's own name.
    """
    scopes = [part for part in (node_name or "").split("/")[:-1] if not part.endswith("PartitionedCall")]
    numbered = all(re.fullmatch(r".+_\d+", scope) for scope in scopes)
    return "/".join(scope.rpartition("_")[0] if numbered else scope for scope in scopes)


def attribute(node: ir.Node, name: str, default: Any) -> Any:
    """The value of an attribute of `node`, or `default` where it is not set."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def fixed(node: ir.Node, index: int) -> np.ndarray | None:
    """Input `index` of `node` as an array where it is a constant, None where the input is absent.

    Raises DifferentiationError where the input is computed.
    """
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None:
        raise DifferentiationError(f"node '{node.name}': input {index} of {node.op_type} must be a constant")
    return tensor.numpy()
