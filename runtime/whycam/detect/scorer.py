"""Scores of a sliding window: by the step graph in constant depth, or by the head over the whole window."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.cuda.array import Array, DeviceArray, Pool
from whycam.detect.ring import FeatureRing, stacked
from whycam.detect.sessions import Graph
from whycam.detect.temperature import tempered


class Scorer(Protocol):
    """Follows the window as it slides."""

    def advance(self, features: Array) -> None:
        """Let a frame's features [F] enter the window."""

    def decide(self, ring: FeatureRing) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits [K] and scores [K] of the full window in `ring`, whose samples are those that entered here."""

    def clear(self) -> None:
        """Begin a new window."""


class _Settled:
    """Tells when the window holds nothing but the same features, and did so before they entered once more."""

    def __init__(self, frames: int) -> None:
        """For windows of so many frames, at the start of one."""
        self._frames = frames
        self._features: Array | None = None
        self._count = 0

    def enter(self, features: Array) -> None:
        """These enter; those that the motion gate holds are the very same array each time."""
        self._count = self._count + 1 if features is self._features else 1
        self._features = features

    def __bool__(self) -> bool:
        return self._count > self._frames

    def clear(self) -> None:
        """A new window begins."""
        self._features = None
        self._count = 0


Values = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class _Taken:
    """A step that was taken ahead: from these states, with these features, to these outputs."""

    states: Values
    features: Array
    outputs: Values


class StepScorer:
    """T hidden states in flight, each started one frame after the other; a frame advances all of them at once."""

    def __init__(self, step: Graph, manifest: Manifest) -> None:
        """A window at its start, over the step graph of the bundle that `manifest` describes."""
        self._step = step
        self._temperature = manifest.temperature
        self._zeros: Values = {
            state.name: np.zeros((1, *state.shape), dtype=np.float32) for state in manifest.step.states
        }
        self._states = self._zeros
        self._newest: Values = {}
        self._taken: _Taken | None = None
        self._settled = _Settled(manifest.window.frames)

    def advance(self, features: Array) -> None:
        """Advance the states by one frame; not where each would become what the one before it is.

        A state in flight depends on the frames since it started alone. Once all T of those are the same, so are the
        states of one frame and the next, and what they give; in INT8 but for rounding.
        """
        taken, self._taken = self._taken, None
        self._settled.enter(features)
        if self._settled:
            return
        if taken is not None and taken.features is features and taken.states is self._states:
            outputs = taken.outputs
        else:
            outputs = self._step({"features": features.reshape(1, *features.shape), **self._states})
        self._newest = outputs
        self._states = {name: outputs[f"{name}_next"] for name in self._zeros}

    def decide(self, ring: FeatureRing) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What came with the last step."""
        logits: NDArray[np.float32] = self._newest["logits"][0]
        return logits, tempered(logits, self._newest["scores"][0], self._temperature)

    def clear(self) -> None:
        """Set the states to zero."""
        self._states = self._zeros
        self._settled.clear()


def step_together(scorers: Sequence[Scorer], features: Sequence[Array]) -> None:
    """Take the next step of several windows over one step graph in one run; `features` [F] are what enters each.

    `advance` with the same array then finds it taken. The graph's weights take longer to read than to multiply, and are
    read once for all. Scorers without a step graph, or with another, are left as they are.
    """
    pairs = [(scorer, each) for scorer, each in zip(scorers, features, strict=True) if isinstance(scorer, StepScorer)]
    first = pairs[0][0] if pairs else None
    pairs = [(scorer, each) for scorer, each in pairs if first is not None and scorer._step is first._step]
    if first is None or len(pairs) < 2:
        return
    states = {name: np.concatenate([scorer._states[name] for scorer, _ in pairs]) for name in first._zeros}
    outputs = first._step({"features": stacked([each for _, each in pairs]), **states})
    for index, (scorer, each) in enumerate(pairs):
        # Copies: a window whose camera stops must not keep what the others gave.
        own = {name: values[index : index + 1].copy() for name, values in outputs.items()}
        scorer._taken = _Taken(scorer._states, each, own)


class StepPlaces:
    """Where a device has what a step takes and gives: always there, so that it may be recorded once and replayed."""

    _made = itertools.count(1)

    def __init__(self, manifest: Manifest, pool: Pool) -> None:
        """Raises DeviceMemoryError."""
        self.number = next(self._made)
        """Of the recording."""
        self.features = pool.empty((1, manifest.features))
        self.states = {state.name: pool.empty((1, *state.shape)) for state in manifest.step.states}
        self.after = {f"{name}_next": state.like() for name, state in self.states.items()}
        self.said = {name: pool.empty((1, len(manifest.classes))) for name in ("logits", "scores")}


class DeviceStepScorer:
    """The same on a device."""

    def __init__(self, step: Graph, manifest: Manifest, pool: Pool, free: deque[StepPlaces]) -> None:
        """A window at its start, over the step graph of the bundle that `manifest` describes.

        It takes places that are `free` and gives them back when it goes: a recording lasts as long as its graph does.
        Raises DeviceMemoryError.
        """
        self._step = step
        self._temperature = manifest.temperature
        self._zeros: Values = {
            state.name: np.zeros((1, *state.shape), dtype=np.float32) for state in manifest.step.states
        }
        self._settled = _Settled(manifest.window.frames)
        self._free = free
        try:
            self._places = free.popleft()
        except IndexError:
            self._places = StepPlaces(manifest, pool)
        self.clear()

    def __del__(self) -> None:
        # Not where there was no memory for them.
        if hasattr(self, "_places"):
            self._free.append(self._places)

    def advance(self, features: Array) -> None:
        """See `StepScorer`; `features` lie on the device."""
        self._settled.enter(features)
        if self._settled:
            return
        places = self._places
        if isinstance(features, DeviceArray):
            places.features.copy_from(features)
        else:
            places.features.write(features.reshape(1, -1))
        given = {"features": places.features, **places.states}
        self._step.fill({**places.said, **places.after}, given, recording=places.number)
        for name, state in places.states.items():
            state.copy_from(places.after[f"{name}_next"])

    def decide(self, ring: FeatureRing) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What came with the last step."""
        logits, scores = (np.asarray(self._places.said[name])[0] for name in ("logits", "scores"))
        return logits, tempered(logits, scores, self._temperature)

    def clear(self) -> None:
        """Set the states to zero."""
        for name, state in self._places.states.items():
            state.write(self._zeros[name])
        self._settled.clear()


class WindowScorer:
    """Runs the head over the window at each decision: for heads that look both ways."""

    def __init__(self, head: Graph, manifest: Manifest) -> None:
        """Over the head graph of the bundle that `manifest` describes."""
        self._head = head
        self._temperature = manifest.temperature
        self._settled = _Settled(manifest.window.frames)
        self._made: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def advance(self, features: Array) -> None:
        """Only note what enters: the ring holds the features."""
        self._settled.enter(features)
        if not self._settled:
            self._made = None

    def decide(self, ring: FeatureRing) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the head over the ring's window; not where it is the one before."""
        if self._made is not None:
            return self._made
        window = stacked([sample.features for sample in ring.samples()])
        outputs = self._head({"window": window.reshape(1, *window.shape)})
        logits: NDArray[np.float32] = outputs["logits"][0]
        self._made = logits, tempered(logits, outputs["scores"][0], self._temperature)
        return self._made

    def clear(self) -> None:
        """Forget what entered."""
        self._settled.clear()
        self._made = None
