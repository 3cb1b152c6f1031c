"""Scores of a sliding window: by the step graph in constant depth, or by the head over the whole window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Bundle
from whycam.detect.graphs import head_spec, step_spec
from whycam.detect.ring import FeatureRing
from whycam.detect.sessions import open_graph


class Scorer(Protocol):
    """Follows the window as it slides."""

    def advance(self, features: NDArray[np.float32]) -> None:
        """Let a frame's features [F] enter the window."""

    def scores(self, ring: FeatureRing) -> NDArray[np.float32]:
        """Scores [K] of the full window in `ring`, whose samples are those that entered here."""

    def clear(self) -> None:
        """Begin a new window."""


def open_scorer(bundle: Bundle, providers: Sequence[str]) -> Scorer:
    """The step graph where the bundle has one, else the head."""
    return StepScorer(bundle, providers) if bundle.manifest.step.available else WindowScorer(bundle, providers)


class StepScorer:
    """T hidden states in flight, each started one frame after the other; a frame advances all of them at once."""

    def __init__(self, bundle: Bundle, providers: Sequence[str]) -> None:
        spec = step_spec(bundle.manifest)
        self._step = open_graph(bundle, spec, providers)
        self._zeros: dict[str, NDArray[np.float32]] = {
            state.name: np.zeros((1, *state.shape), dtype=np.float32) for state in bundle.manifest.step.states
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

    def __init__(self, bundle: Bundle, providers: Sequence[str]) -> None:
        self._head = open_graph(bundle, head_spec(bundle.manifest), providers)

    def advance(self, features: NDArray[np.float32]) -> None:
        """Nothing: the ring holds the features."""

    def scores(self, ring: FeatureRing) -> NDArray[np.float32]:
        """Run the head over the ring's window."""
        scores: NDArray[np.float32] = self._head({"window": ring.features()[np.newaxis]})["scores"][0]
        return scores

    def clear(self) -> None:
        """Nothing to forget."""
