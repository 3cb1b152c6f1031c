"""The explanations of a bundle, one way to ask for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whycam.detect.model import Model
from whycam.detect.ring import Snapshot
from whycam.errors import InputError
from whycam.explain import METHODS
from whycam_export.evaluation.network import Floats

TIME_METHODS = ("relevance",)
TOP = 3
"""Frames of the quick explanation whose cost is measured."""


def choose_methods(model: Model, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The methods `wanted`, or all that the bundle offers; raises InputError, naming those there are."""
    there = tuple(METHODS)
    if wanted is None:
        return there
    for name in wanted:
        if name not in there:
            raise InputError(f"--methods {name}: bundle '{model.manifest.name}' offers {', '.join(there)}")
    return tuple(dict.fromkeys(wanted))


def heatmaps(model: Model, window: Snapshot, method: str, label: str, versus: str | None) -> Floats:
    """Where: f32 [T, h, w], 0 and more."""
    return np.asarray(model.explain(window, method, label, versus).heatmaps, np.float32)


def top_heatmaps(model: Model, window: Snapshot, method: str, label: str, versus: str | None) -> Floats:
    """As `heatmaps`, for the `TOP` most relevant frames alone, the others 0."""
    raise NotImplementedError


def relevance(model: Model, window: Snapshot, method: str, label: str, versus: str | None) -> Floats:
    """When: f32 [T], 0 and more."""
    return model.explain(window, "grad-cam", label, versus).relevance
