"""The recurrent layers of a head: one direction or both, last output or the whole sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from whycam_export.convert.graph import GraphBuilder
from whycam_export.convert.head.activations import RECURRENT, recurrent_attributes
from whycam_export.convert.head.cells import Cell
from whycam_export.convert.head.stages import StepStates

MERGES = ("concat", "sum", "mul", "ave")
"""How Keras joins the two directions of a bidirectional layer."""


@dataclass(frozen=True)
class Recurrent:
    """A GRU or LSTM layer, with `backward` a bidirectional one: [N,T,F] -> [N,T,units] if `sequences` or [N,units].

    With `reverse` its one direction is from the last frame to the first, and so is its sequence.
    """

    name: str
    forward: Cell
    sequences: bool
    frames: int
    backward: Cell | None = None
    merge: str = "concat"
    reverse: bool = False

    @property
    def no_step(self) -> str | None:
        """See Stage."""
        if self.backward is not None:
            return f"layer '{self.name}' reads the window backwards too"
        return f"layer '{self.name}' reads the window backwards" if self.reverse else None

    def renamed(self, name: str) -> Recurrent:
        """The same layer by another name."""

        def apart(cell: Any, way: str) -> Any:
            return None if cell is None else replace(cell, name=f"{name}/{way}")

        ways = apart(self.forward, "forward"), apart(self.backward, "backward")
        return replace(self, name=name, forward=ways[0], backward=ways[1])

    @property
    def cells(self) -> list[Cell]:
        """One cell per direction."""
        return [self.forward] if self.backward is None else [self.forward, self.backward]

    def window(self, graph: GraphBuilder, x: ir.Value) -> ir.Value:
        """One native node, where ONNX has the activations; else the cells' equations, frame by frame."""
        by_time = graph.op("Transpose", x, perm=[1, 0, 2])
        if all(name in RECURRENT for cell in self.cells for name in cell.native_activations):
            return self._native(graph, by_time)
        run = self.unrolled(graph, by_time, self.frames)
        if self.sequences:
            return graph.op("Transpose", run, perm=[1, 0, 2])
        return graph.op("Squeeze", run, graph.integers(0))

    def _native(self, graph: GraphBuilder, by_time: ir.Value) -> ir.Value:
        """The node's output is Y [T,directions,N,units], in the order of the frames, and Y_h [directions,N,units]."""
        cells = self.cells
        w, r, b = (np.stack(parts) for parts in zip(*(cell.native_weights() for cell in cells), strict=True))
        attributes = recurrent_attributes([name for cell in cells for name in cell.native_activations])
        if cells[0].native == "GRU":
            attributes["linear_before_reset"] = int(getattr(cells[0], "reset_after", True))
        one_way = "reverse" if self.reverse else "forward"
        every, last = graph.ops(
            cells[0].native,
            2,
            by_time,
            graph.constant(f"{self.name}/W", w),
            graph.constant(f"{self.name}/R", r),
            graph.constant(f"{self.name}/B", b),
            hidden_size=cells[0].units,
            direction=one_way if self.backward is None else "bidirectional",
            **attributes,
        )
        if self.sequences:
            if self.reverse:
                back = graph.integers(-1)
                every = graph.op("Slice", every, back, graph.integers(-self.frames - 1), graph.integers(0), back)
            parts = [graph.op("Gather", every, _index(graph, d), axis=1) for d in range(len(cells))]
            return graph.op("Transpose", self._merged(graph, parts), perm=[1, 0, 2])
        return self._merged(graph, [graph.op("Gather", last, _index(graph, d), axis=0) for d in range(len(cells))])

    def unrolled(self, graph: GraphBuilder, x: ir.Value, frames: int) -> ir.Value:
        """The cells' equations, frame by frame."""
        ahead, back = range(frames), range(frames)[::-1]
        runs = [_run(graph, self.forward, x, back if self.reverse else ahead)]
        if self.backward is not None:
            runs.append(_run(graph, self.backward, x, back))
        if not self.sequences:
            return self._merged(graph, [run[-1] for run in runs])
        in_order = [runs[0], *(run[::-1] for run in runs[1:])]
        return self._merged(graph, [graph.op("Concat", *run, axis=0) for run in in_order])

    def step(self, graph: GraphBuilder, x: ir.Value, states: StepStates) -> ir.Value:
        """All windows in flight advance in one batch: the recurrent weights are read once, not once per frame."""
        cell = self.forward
        projected = cell.project(graph, x)
        if not states.inputs:
            # The first recurrent layer: its projection of the new frame serves every window in flight.
            projected = graph.op("Unsqueeze", projected, graph.integers(1))
        names = [f"{self.name}/{name}" for name in cell.state_names]
        before = [states.read(name, cell.units) for name in names]
        after = cell.advance(graph, projected, before)
        for name, value in zip(names, after, strict=True):
            states.write(graph, name, value)
        return after[0] if self.sequences else states.last(graph, after[0])

    def _merged(self, graph: GraphBuilder, parts: Sequence[ir.Value]) -> ir.Value:
        if len(parts) == 1:
            return parts[0]
        if self.merge == "concat":
            return graph.op("Concat", *parts, axis=-1)
        total = graph.op("Mul" if self.merge == "mul" else "Add", *parts)
        return graph.op("Mul", total, graph.number(0.5)) if self.merge == "ave" else total


def _run(graph: GraphBuilder, cell: Cell, x: ir.Value, order: Sequence[int]) -> list[ir.Value]:
    """The cell's outputs [1,...,units] in the order of reading x [T,...,F]; the projection of all is one product."""
    projected = cell.project(graph, x)
    frames = graph.ops("Split", len(order), projected, graph.integers(*([1] * len(order))), axis=0)
    states: list[ir.Value] | None = None
    outputs = []
    for index in order:
        states = cell.advance(graph, frames[index], states)
        outputs.append(states[0])
    return outputs


def _index(graph: GraphBuilder, number: int) -> ir.Value:
    return graph.constant(f"index {number}", np.array(number, dtype=np.int64))
