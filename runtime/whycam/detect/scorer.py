"""Scores of a sliding window: by the step graph in constant depth, or by the head over the whole window."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.detect.ring import FeatureRing, stacked_features
from whycam.detect.sessions import Graph


class Scorer(Protocol):
    """Follows the window as it slides."""

    def advance(self, features: NDArray[np.float32]) -> None:
        """Let a frame's features [F] enter the window."""

    def scores(self, ring: FeatureRing) -> NDArray[np.float32]:
        """Scores [K] of the full window in `ring`, whose samples are those that entered here."""

    def clear(self) -> None:
        """Begin a new window."""


class StepScorer:
    """T hidden states in flight, each started one frame after the other; a frame advances all of them at once."""

    def __init__(self, step: Graph, manifest: Manifest) -> None:
        """A window at its start, over the step graph of the bundle that `manifest` describes."""
        self._step = step
        self._zeros: dict[str, NDArray[np.float32]] = {
            state.name: np.zeros((1, *state.shape), dtype=np.float32) for state in manifest.step.states
        }
        self._states = self._zeros
        self._scores: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)

    def advance(self, features: NDArray[np.float32]) -> None:
        """Advance the states by one frame."""
        outputs = self._step({"features": features[np.newaxis], **self._states})
        self._scores = outputs["scores"]
        self._states = {name: outputs[f"{name}_next"] for name in self._zeros}

    def scores(self, ring: FeatureRing) -> NDArray[np.float32]:
        """The scores that came with the last step."""
        newest: NDArray[np.float32] = self._scores[0]
        return newest

    def clear(self) -> None:
        """Set the states to zero."""
        self._states = self._zeros


class WindowScorer:
    """Runs the head over the window at each decision: for heads that look both ways."""

    def __init__(self, head: Graph) -> None:
        """Over the head graph."""
        self._head = head

    def advance(self, features: NDArray[np.float32]) -> None:
        """Nothing: the ring holds the features."""

    def scores(self, ring: FeatureRing) -> NDArray[np.float32]:
        """Run the head over the ring's window."""
        scores: NDArray[np.float32] = self._head({"window": stacked_features(ring.samples())[np.newaxis]})["scores"][0]
        return scores

    def clear(self) -> None:
        """Nothing to forget."""
