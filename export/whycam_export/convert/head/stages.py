"""What a head is made of: each stage writes itself into the window, the unrolled and the step graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from whycam_export.convert.graph import GraphBuilder, float_input
from whycam_export.convert.head.activations import ACTIVATIONS

Array = np.ndarray[Any, Any]


@dataclass
class StepStates:
    """The state tensors of a step graph, gathered while its stages are written: f32 [N,T,units], a slot per window in
    flight. Slot i holds what a window that has seen i frames has come to; a frame moves it to slot i+1."""

    frames: int
    inputs: list[ir.Value] = field(default_factory=list)
    outputs: dict[str, ir.Value] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def read(self, name: str, units: int) -> ir.Value:
        """Add the state `name`."""
        value = float_input(name, "N", self.frames, units)
        self.inputs.append(value)
        self.shapes[name] = (self.frames, units)
        return value

    def write(self, graph: GraphBuilder, name: str, value: ir.Value, start: float = 0.0) -> None:
        """Advance the state `name`: the window that is complete leaves, a new one enters with `start`."""
        pads = graph.integers(0, 1, 0, 0, -1, 0)
        self.outputs[f"{name}_next"] = graph.op("Pad", value, pads, graph.number(start))

    def last(self, graph: GraphBuilder, value: ir.Value) -> ir.Value:
        """What the window that has now seen all its frames has come to: [N,T,units] -> [N,units]."""
        return graph.op("Gather", value, graph.constant("last slot", np.array(self.frames - 1, np.int64)), axis=1)


class Stage(Protocol):
    """A stage of the head. Sequences are [N,T,F] in the window graph, [T,F] in the unrolled one."""

    @property
    def name(self) -> str:
        """The Keras layer's name."""

    @property
    def no_step(self) -> str | None:
        """Why the stage cannot advance a frame at a time; None where it can."""

    def window(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """[N,T,F] -> [N,T,G] or [N,G]."""

    def unrolled(self, graph: GraphBuilder, x: ir.Value, frames: int) -> ir.Value:
        """[T,F] -> [T,G] or [1,G], in primitive operators that can be differentiated."""

    def step(self, graph: GraphBuilder, x: ir.Value, states: StepStates) -> ir.Value:
        """A frame's [N,F], or what the windows in flight have come to [N,T,F] -> the same after this stage."""


class EveryFrame:
    """The base of stages that treat each vector alone, whatever stands before the last axis."""

    no_step: str | None = None

    def apply(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """[..., F] -> [..., G]."""
        raise AssertionError("each stage says what it does")

    def window(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """See Stage."""
        return self.apply(graph, x)

    def unrolled(self, graph: GraphBuilder, x: ir.Value, frames: int) -> ir.Value:
        """See Stage."""
        return self.apply(graph, x)

    def step(self, graph: GraphBuilder, x: ir.Value, states: StepStates) -> ir.Value:
        """See Stage."""
        return self.apply(graph, x)


@dataclass(frozen=True)
class Dense(EveryFrame):
    """x W + b: kernel f32 [F,G], bias f32 [G] or None."""

    name: str
    kernel: Array
    bias: Array | None

    def apply(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """See EveryFrame."""
        y = graph.op("MatMul", x, graph.constant(f"{self.name}/kernel", self.kernel))
        return y if self.bias is None else graph.op("Add", y, graph.constant(f"{self.name}/bias", self.bias))


@dataclass(frozen=True)
class Activation(EveryFrame):
    """An activation function of Keras, by its name."""

    name: str
    function: str

    def apply(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """See EveryFrame."""
        return ACTIVATIONS[self.function](graph, x)


@dataclass(frozen=True)
class Affine(EveryFrame):
    """A scale and a shift per feature, as batch normalisation is at inference."""

    name: str
    scale: Array
    shift: Array

    def apply(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """See EveryFrame."""
        scaled = graph.op("Mul", x, graph.constant(f"{self.name}/scale", self.scale))
        return graph.op("Add", scaled, graph.constant(f"{self.name}/shift", self.shift))


@dataclass(frozen=True)
class LayerNormalization(EveryFrame):
    """Normalisation over the features (Ba, Kiros & Hinton 2016)."""

    name: str
    gamma: Array
    beta: Array
    epsilon: float

    def apply(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """See EveryFrame."""
        gamma = graph.constant(f"{self.name}/gamma", self.gamma)
        beta = graph.constant(f"{self.name}/beta", self.beta)
        return graph.op("LayerNormalization", x, gamma, beta, axis=-1, epsilon=self.epsilon)


@dataclass(frozen=True)
class AverageOverTime:
    """The mean of a sequence: f32 [N,T,units] -> [N,units]."""

    name: str
    units: int
    no_step: str | None = None

    def window(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """See Stage."""
        return graph.op("ReduceMean", x, graph.integers(1), keepdims=0)

    def unrolled(self, graph: GraphBuilder, x: ir.Value, frames: int) -> ir.Value:
        """See Stage."""
        return graph.op("ReduceMean", x, graph.integers(0), keepdims=1)

    def step(self, graph: GraphBuilder, x: ir.Value, states: StepStates) -> ir.Value:
        """See Stage."""
        total = graph.op("Add", states.read(f"{self.name}/sum", self.units), x)
        states.write(graph, f"{self.name}/sum", total)
        return graph.op("Div", states.last(graph, total), graph.number(states.frames))


@dataclass(frozen=True)
class MaximumOverTime:
    """The maximum of a sequence: f32 [N,T,units] -> [N,units]."""

    name: str
    units: int
    no_step: str | None = None

    def window(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """See Stage."""
        return graph.op("ReduceMax", x, graph.integers(1), keepdims=0)

    def unrolled(self, graph: GraphBuilder, x: ir.Value, frames: int) -> ir.Value:
        """See Stage."""
        return graph.op("ReduceMax", x, graph.integers(0), keepdims=1)

    def step(self, graph: GraphBuilder, x: ir.Value, states: StepStates) -> ir.Value:
        """See Stage."""
        highest = graph.op("Max", states.read(f"{self.name}/maximum", self.units), x)
        states.write(graph, f"{self.name}/maximum", highest, start=float(np.finfo(np.float32).min))
        return states.last(graph, highest)


@dataclass(frozen=True)
class TemporalAttention:
    """A mean of a sequence, f32 [N,T,units] -> [N,units], weighed by the softmax of v . tanh(x W + b).

    kernel W f32 [units,G], bias b f32 [G], query v f32 [G,1]; see `whycam_export.attention`.
    """

    name: str
    kernel: Array
    bias: Array
    query: Array

    @property
    def units(self) -> int:
        """The width of what is pooled."""
        return len(self.kernel)

    @property
    def bound(self) -> float:
        """What no score exceeds: |v . tanh| <= sum |v|."""
        return float(np.abs(self.query).sum())

    @property
    def no_step(self) -> str | None:
        """See Stage."""
        # exp(score - bound) is at least exp(-2 bound), and must not underflow.
        return f"the scores of layer '{self.name}' span too wide to add up" if self.bound > 30 else None

    def window(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """See Stage."""
        return self._pooled(graph, x, axis=1, keepdims=0)

    def unrolled(self, graph: GraphBuilder, x: ir.Value, frames: int) -> ir.Value:
        """See Stage."""
        return self._pooled(graph, x, axis=0, keepdims=1)

    def step(self, graph: GraphBuilder, x: ir.Value, states: StepStates) -> ir.Value:
        """See Stage. The softmax's two sums run along with each window."""
        weights = graph.op("Exp", graph.op("Sub", self._scores(graph, x), graph.number(self.bound)))
        part = graph.op("Mul", weights, x)
        above = graph.op("Add", states.read(f"{self.name}/weighed", self.units), part)
        below = graph.op("Add", states.read(f"{self.name}/weights", 1), weights)
        states.write(graph, f"{self.name}/weighed", above)
        states.write(graph, f"{self.name}/weights", below)
        return graph.op("Div", states.last(graph, above), states.last(graph, below))

    def weights(self, graph: GraphBuilder, x: ir.Value, axis: int) -> ir.Value:
        """The weights of a sequence's items along `axis`: [...,T,units] -> [...,T,1], which sum to 1."""
        return graph.op("Softmax", self._scores(graph, x), axis=axis)

    def _scores(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        product = graph.op("MatMul", x, graph.constant(f"{self.name}/kernel", self.kernel))
        hidden = graph.op("Tanh", graph.op("Add", product, graph.constant(f"{self.name}/bias", self.bias)))
        return graph.op("MatMul", hidden, graph.constant(f"{self.name}/query", self.query))

    def _pooled(self, graph: GraphBuilder, x: ir.Value, axis: int, keepdims: int) -> ir.Value:
        weighed = graph.op("Mul", self.weights(graph, x, axis), x)
        return graph.op("ReduceSum", weighed, graph.integers(axis), keepdims=keepdims)


@dataclass(frozen=True)
class FlattenTime:
    """A sequence as one vector: f32 [N,T,units] -> [N,T*units]."""

    name: str
    frames: int
    units: int

    @property
    def no_step(self) -> str | None:
        """See Stage."""
        return f"layer '{self.name}' keeps the output of every frame"

    def window(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """See Stage."""
        return graph.op("Reshape", x, graph.integers(-1, self.frames * self.units))

    def unrolled(self, graph: GraphBuilder, x: ir.Value, frames: int) -> ir.Value:
        """See Stage."""
        return graph.op("Reshape", x, graph.integers(1, frames * self.units))

    def step(self, graph: GraphBuilder, x: ir.Value, states: StepStates) -> ir.Value:
        """Never called: see no_step."""
        raise AssertionError(self.no_step)
