"""The GRU and LSTM cells of Keras: their weights, their step in primitive operators, their native ONNX form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from whycam_export.convert.graph import GraphBuilder
from whycam_export.convert.head.activations import ACTIVATIONS

Array = np.ndarray[Any, Any]


class Cell(Protocol):
    """A recurrent cell; its first state is its output."""

    @property
    def name(self) -> str:
        """The Keras layer's name."""

    @property
    def units(self) -> int:
        """The size of a state."""

    @property
    def state_names(self) -> tuple[str, ...]:
        """The states, the output first."""

    @property
    def native(self) -> str:
        """The ONNX operator that runs the cell over a window."""

    @property
    def native_activations(self) -> list[str]:
        """The Keras names of the activations, in the order in which the ONNX operator takes them."""

    def project(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """The part of the gates that needs no state: [...,F] -> [...,gates*units]."""

    def advance(self, graph: GraphBuilder, projected: ir.Value, states: Sequence[ir.Value] | None) -> list[ir.Value]:
        """The states [...,units] after a frame; `states` None is the start, all zeros."""

    def native_weights(self) -> tuple[Array, Array, Array]:
        """W [gates*units,F], R [gates*units,units], B [2*gates*units] in the order of the ONNX operator."""


@dataclass(frozen=True)
class Weights:
    """A cell's weights as Keras keeps them, all f32: kernel [F,gates*units], recurrent [units,gates*units], biases
    [gates*units]."""

    kernel: Array
    recurrent: Array
    bias: Array
    recurrent_bias: Array


@dataclass(frozen=True)
class GruCell:
    """The gated recurrent unit (Cho 2014), gates in the order z, r, h. `reset_after`: the reset gate acts behind the
    recurrent product, as in cuDNN and in ONNX's `linear_before_reset`."""

    name: str
    units: int
    weights: Weights
    activation: str
    recurrent_activation: str
    reset_after: bool
    state_names: tuple[str, ...] = ("hidden",)
    native: str = "GRU"

    @property
    def native_activations(self) -> list[str]:
        """See Cell."""
        return [self.recurrent_activation, self.activation]

    def project(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """See Cell."""
        product = graph.op("MatMul", x, graph.constant(f"{self.name}/kernel", self.weights.kernel))
        return graph.op("Add", product, graph.constant(f"{self.name}/bias", self.weights.bias))

    def advance(self, graph: GraphBuilder, projected: ir.Value, states: Sequence[ir.Value] | None) -> list[ir.Value]:
        """z = s(xz + hz), r = s(xr + hr), c = a(xh + r hh), h' = z h + (1 - z) c."""
        hidden = states[0] if states is not None else None
        xz, xr, xh = _gates(graph, projected, self.units, 3)
        hz, hr, hh = self._recurrent(graph, hidden)
        gate, squash = ACTIVATIONS[self.recurrent_activation], ACTIVATIONS[self.activation]
        z = gate(graph, _sum(graph, xz, hz))
        r = gate(graph, _sum(graph, xr, hr))
        if not self.reset_after:
            hh = None
            if hidden is not None:
                last = graph.constant(f"{self.name}/recurrent_h", self.weights.recurrent[:, 2 * self.units :])
                hh = graph.op("MatMul", graph.op("Mul", r, hidden), last)
        elif hh is not None:
            hh = graph.op("Mul", r, hh)
        c = squash(graph, _sum(graph, xh, hh))
        fresh = graph.op("Mul", graph.op("Sub", graph.number(1.0), z), c)
        return [fresh if hidden is None else graph.op("Add", graph.op("Mul", z, hidden), fresh)]

    def _recurrent(self, graph: GraphBuilder, hidden: ir.Value | None) -> list[ir.Value | None]:
        weights = self.weights
        if not self.reset_after:
            if hidden is None:
                return [None, None, None]
            first = graph.constant(f"{self.name}/recurrent_zr", weights.recurrent[:, : 2 * self.units])
            return [*_gates(graph, graph.op("MatMul", hidden, first), self.units, 2), None]
        bias = graph.constant(f"{self.name}/recurrent_bias", weights.recurrent_bias)
        if hidden is None:
            return list(_gates(graph, graph.op("Reshape", bias, graph.integers(1, -1)), self.units, 3))
        product = graph.op("MatMul", hidden, graph.constant(f"{self.name}/recurrent", weights.recurrent))
        return list(_gates(graph, graph.op("Add", product, bias), self.units, 3))

    def native_weights(self) -> tuple[Array, Array, Array]:
        """See Cell."""
        weights = self.weights
        return weights.kernel.T, weights.recurrent.T, np.concatenate([weights.bias, weights.recurrent_bias])


@dataclass(frozen=True)
class LstmCell:
    """Long short-term memory (Hochreiter & Schmidhuber 1997, with Gers 2000), gates in Keras's order i, f, c, o."""

    name: str
    units: int
    weights: Weights
    activation: str
    recurrent_activation: str
    state_names: tuple[str, ...] = ("hidden", "cell")
    native: str = "LSTM"

    @property
    def native_activations(self) -> list[str]:
        """See Cell."""
        return [self.recurrent_activation, self.activation, self.activation]

    def project(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """See Cell."""
        product = graph.op("MatMul", x, graph.constant(f"{self.name}/kernel", self.weights.kernel))
        return graph.op("Add", product, graph.constant(f"{self.name}/bias", self.weights.bias))

    def advance(self, graph: GraphBuilder, projected: ir.Value, states: Sequence[ir.Value] | None) -> list[ir.Value]:
        """c' = s(f) c + s(i) a(g), h' = s(o) a(c'), with i, f, g, o = x W + h R + b."""
        gates = projected
        if states is not None:
            recurrent = graph.constant(f"{self.name}/recurrent", self.weights.recurrent)
            gates = graph.op("Add", projected, graph.op("MatMul", states[0], recurrent))
        i, f, g, o = _gates(graph, gates, self.units, 4)
        gate, squash = ACTIVATIONS[self.recurrent_activation], ACTIVATIONS[self.activation]
        memory = graph.op("Mul", gate(graph, i), squash(graph, g))
        if states is not None:
            memory = graph.op("Add", graph.op("Mul", gate(graph, f), states[1]), memory)
        return [graph.op("Mul", gate(graph, o), squash(graph, memory)), memory]

    def native_weights(self) -> tuple[Array, Array, Array]:
        """See Cell; ONNX orders the gates i, o, f, c."""
        weights = self.weights

        def ordered(array: Array) -> Array:
            i, f, g, o = np.split(array, 4, axis=-1)
            return np.concatenate([i, o, f, g], axis=-1)

        bias = ordered(weights.bias)
        return ordered(weights.kernel).T, ordered(weights.recurrent).T, np.concatenate([bias, np.zeros_like(bias)])


def _gates(graph: GraphBuilder, joined: ir.Value, units: int, count: int) -> Sequence[ir.Value]:
    return graph.ops("Split", count, joined, graph.integers(*([units] * count)), axis=-1)


def _sum(graph: GraphBuilder, a: ir.Value, b: ir.Value | None) -> ir.Value:
    return a if b is None else graph.op("Add", a, b)
