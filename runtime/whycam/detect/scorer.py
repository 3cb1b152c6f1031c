"""Scores of a sliding window: by the step graph in constant depth, or by the head over the whole window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.detect.ring import FeatureRing, stacked_features
from whycam.detect.sessions import Graph
from whycam.detect.temperature import tempered


class Scorer(Protocol):
    """Follows the window as it slides."""

    def advance(self, features: NDArray[np.float32]) -> None:
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
        self._features: NDArray[np.float32] | None = None
        self._count = 0

    def enter(self, features: NDArray[np.float32]) -> None:
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
    features: NDArray[np.float32]
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

    def advance(self, features: NDArray[np.float32]) -> None:
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
            outputs = self._step({"features": features[np.newaxis], **self._states})
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


def step_together(scorers: Sequence[Scorer], features: Sequence[NDArray[np.float32]]) -> None:
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
    outputs = first._step({"features": np.stack([each for _, each in pairs]), **states})
    for index, (scorer, each) in enumerate(pairs):
        # Copies: a window whose camera stops must not keep what the others gave.
        own = {name: values[index : index + 1].copy() for name, values in outputs.items()}
        scorer._taken = _Taken(scorer._states, each, own)


class WindowScorer:
    """Runs the head over the window at each decision: for heads that look both ways."""

    def __init__(self, head: Graph, manifest: Manifest) -> None:
        """Over the head graph of the bundle that `manifest` describes."""
        self._head = head
        self._temperature = manifest.temperature
        self._settled = _Settled(manifest.window.frames)
        self._made: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def advance(self, features: NDArray[np.float32]) -> None:
        """Only note what enters: the ring holds the features."""
        self._settled.enter(features)
        if not self._settled:
            self._made = None

    def decide(self, ring: FeatureRing) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the head over the ring's window; not where it is the one before."""
        if self._made is not None:
            return self._made
        outputs = self._head({"window": stacked_features(ring.samples())[np.newaxis]})
        logits: NDArray[np.float32] = outputs["logits"][0]
        self._made = logits, tempered(logits, outputs["scores"][0], self._temperature)
        return self._made

    def clear(self) -> None:
        """Forget what entered."""
        self._settled.clear()
        self._made = None
