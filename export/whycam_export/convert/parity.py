"""The proof that a bundle's graphs compute what Keras computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from whycam.bundle.manifest import Parity, StateTensor
from whycam.detect.graphs import numbered
from whycam.explain.cams import grad_cam
from whycam_export.convert.preprocessing import Preprocessing
from whycam_export.convert.reference import Reference
from whycam_export.errors import ModelError

Array = np.ndarray[Any, Any]

LIMITS = {
    "features": 1e-4,
    "logits": 1e-4,
    "scores": 1e-4,
    "heatmaps": 1e-3,
    "pixels": 1e-2,
    "guided": 1e-2,
    "excitation": 1e-3,
    "attention": 1e-5,
    "step": 1e-5,
}
"""What is tolerated: features, logits (or 1) and heat maps relative to the largest, pixel gradients relative to their
norm, mass that excitation gains, scores and attention absolute. Pixel gradients change by jumps: a ReLU or a maximum
that rounding decides otherwise routes its part of them elsewhere, in deep networks thousands of times."""

ROUNDING = 4
"""Deep networks whose activations lie close to a ReLU's edge amplify rounding: Keras itself gives other maps where each
pixel moves by its last bit. Features and heat maps may be off by this many times that movement, where it is more;"""
MOST = {"features": 1e-3, "heatmaps": 5e-2}
"""but never by more than this."""

FAINTEST = 1e-3
"""Logits: fainter maps are measured against this. Behind a saturated GRU gradients are rounding errors in Keras too."""


@dataclass(frozen=True)
class Case:
    """A window to compare on: frames uint8 [T,H,W,3] BGR, and Keras's values for them."""

    name: str
    frames: Array
    reference: Reference


def measure(directory: Path, cases: list[Case], states: tuple[StateTensor, ...], prepare: Preprocessing) -> Parity:
    """Run the graphs in `directory` on the CPU and compare them with Keras; the worst of all cases."""
    graphs = _Graphs(directory)
    errors: dict[str, list[float]] = {name: [] for name in (*LIMITS, *(f"{name}_rounding" for name in MOST))}
    for case in cases:
        expected = case.reference
        names = ["features", *(numbered("maps", index) for index in range(len(expected.cams)))]
        parts = [graphs.run("features", names, {"frames": frame[None]}) for frame in case.frames]
        errors["features_rounding"].append(_relative(expected.nudged_features, expected.features))
        for nudged, cams in zip(expected.nudged_cams, expected.cams, strict=True):
            errors["heatmaps_rounding"] += [_cam_error(one, other) for one, other in zip(nudged, cams, strict=True)]
        features, *maps = (np.concatenate(part) for part in zip(*parts, strict=True))
        errors["features"].append(_relative(features, expected.features))
        logits, scores = (part[0] for part in graphs.run("head", ["logits", "scores"], {"window": features[None]}))
        errors["logits"].append(_logits_error(logits, expected.logits))
        errors["scores"].append(float(np.abs(scores - expected.scores).max()))
        if graphs.has("head_vjp"):
            for name, values in _cam_errors(graphs, features, maps, expected).items():
                errors[name] += values
        if graphs.has("upper"):
            (above,) = graphs.run("upper", ["features"], {"maps": maps[0]})
            errors["features"].append(_relative(above, expected.features))
        if graphs.has("pixels_vjp"):
            for name, values in _pixel_errors(graphs, case, prepare).items():
                errors[name] += values
        if graphs.has("head_excitation"):
            errors["excitation"].append(_mass_error(graphs, features, maps[0], len(scores)))
        if expected.attention is not None:
            found = (
                graphs.run("maps_attention", ["attention"], {"maps": maps[0]})[0],
                graphs.run("head_attention", ["attention"], {"window": features})[0],
            )
            pairs = zip(found, expected.attention, strict=True)
            errors["attention"].append(float(np.max([np.abs(one - other).max() for one, other in pairs])))
        if graphs.has("step"):
            errors["step"].append(_step_error(graphs, features, states))
    # numpy's maximum, unlike Python's, lets what is not a number through to the check.
    worst = {name: float(np.max(values)) if values else None for name, values in errors.items()}
    return Parity.model_validate({"frames": sum(len(case.frames) for case in cases), **worst})


class _Graphs:
    """The graphs in a directory, opened when they are first run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sessions: dict[str, ort.InferenceSession] = {}

    def has(self, name: str) -> bool:
        return (self._directory / f"{name}.onnx").is_file()

    def run(self, name: str, outputs: list[str], inputs: dict[str, Array]) -> list[Array]:
        if name not in self._sessions:
            path = str(self._directory / f"{name}.onnx")
            self._sessions[name] = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        found: list[Array] = self._sessions[name].run(outputs, inputs)
        return found


def _cam_errors(graphs: _Graphs, features: Array, maps: list[Array], expected: Reference) -> dict[str, list[float]]:
    """Of the logits beside the gradient, and of Grad-CAM of each class at each CAM layer."""
    errors: dict[str, list[float]] = {"logits": [], "heatmaps": []}
    names = [numbered("map_gradient", index) for index in range(len(maps))]
    for index in range(len(expected.logits)):
        given = {"window": features, "target": _one_hot(index, len(expected.logits))}
        logits, gradient = graphs.run("head_vjp", ["logits", "feature_gradient"], given)
        errors["logits"].append(_logits_error(logits, expected.logits))
        gradients = graphs.run("maps_vjp", names, {"maps": maps[0], "feature_gradient": gradient})
        for cams, layer, layer_gradient in zip(expected.cams, maps, gradients, strict=True):
            errors["heatmaps"].append(_cam_error(grad_cam(layer, layer_gradient), cams[index]))
    return errors


def _cam_error(found: Array, wanted: Array) -> float:
    """Of Grad-CAM's maps, before or after the ReLU, against those before it."""
    # The scale is that before the ReLU, so that a map which is all but nought after it is not measured against noise.
    scale = max(float(np.abs(wanted).max()), FAINTEST)
    return float(np.abs(np.maximum(found, 0) - np.maximum(wanted, 0)).max()) / scale


def _pixel_errors(graphs: _Graphs, case: Case, prepare: Preprocessing) -> dict[str, list[float]]:
    """Of the pixel gradients, true and guided, of the highest logit; a frame at a time bounds the memory."""
    expected = case.reference
    errors: dict[str, list[float]] = {}
    for name, graph, wanted in (
        ("pixels", "pixels_vjp", expected.image_gradient),
        ("guided", "pixels_guided", expected.guided_gradient),
    ):
        assert wanted is not None  # asked for together with the graphs
        pairs = zip(case.frames, expected.feature_gradient, strict=True)
        found = [
            graphs.run(graph, ["pixel_gradient"], {"frames": frame[None], "feature_gradient": gradient[None]})[0]
            for frame, gradient in pairs
        ]
        true = prepare.apply_back(wanted)
        norm = max(float(np.linalg.norm(true)), float(np.finfo(np.float32).tiny))
        errors[name] = [float(np.linalg.norm(np.concatenate(found) - true)) / norm]
    return errors


def _mass_error(graphs: _Graphs, features: Array, maps: Array, classes: int) -> float:
    """How much the winning probabilities that reach the maps exceed what left the top, or fall below nought.

    They may be fewer: what finds no positive contribution on its way is lost.
    """
    worst = 0.0
    for index in range(classes):
        given = {"window": features, "target": _one_hot(index, classes)}
        (at_features,) = graphs.run("head_excitation", ["feature_excitation"], given)
        given = {"maps": maps, "feature_excitation": at_features}
        (at_maps,) = graphs.run("maps_excitation", ["map_excitation"], given)
        worst = float(np.max([worst, at_features.sum() - 1, at_maps.sum() - at_features.sum(), -at_maps.min()]))
    return worst


def _one_hot(index: int, classes: int) -> Array:
    target = np.zeros(classes, np.float32)
    target[index] = 1
    return target


def check(parity: Parity) -> None:
    """Raise ModelError where a figure of `parity` is outside what is tolerated (or not a number)."""
    for name in LIMITS:
        error, limit = getattr(parity, name), tolerated(parity, name)
        if error is not None and not error <= limit:
            why = "" if np.isfinite(error) else ". Are the model's weights finite?"
            raise ModelError(
                f"the exported graphs disagree with Keras: {name} by {error:.1e}, tolerated is {limit:.0e}; "
                f"nothing was written{why}"
            )


def tolerated(parity: Parity, name: str) -> float:
    """The largest `name` of `parity` that is taken for rounding."""
    rounding: float | None = getattr(parity, f"{name}_rounding", None)
    if rounding is None or not np.isfinite(rounding):
        return LIMITS[name]
    return max(LIMITS[name], min(ROUNDING * rounding, MOST[name]))


def _relative(found: Array, wanted: Array) -> float:
    return float(np.abs(found - wanted).max() / (np.abs(wanted).max() or 1.0))


def _logits_error(found: Array, wanted: Array) -> float:
    return float(np.abs(found - wanted).max() / max(float(np.abs(wanted).max()), 1.0))


def _step_error(graphs: _Graphs, features: Array, states: tuple[StateTensor, ...]) -> float:
    """Slide over the window's frames twice, the second time backwards: T+1 full windows to compare."""
    frames = len(features)
    stream = np.concatenate([features, features[::-1]])
    state = {tensor.name: np.zeros((1, *tensor.shape), np.float32) for tensor in states}
    outputs = ["scores", *(f"{name}_next" for name in state)]
    differences = []
    for time, frame in enumerate(stream):
        scores, *following = graphs.run("step", outputs, {"features": frame[None], **state})
        state = dict(zip(state, following, strict=True))
        if time >= frames - 1:
            expected = graphs.run("head", ["scores"], {"window": stream[None, time - frames + 1 : time + 1]})[0]
            differences.append(np.abs(scores - expected).max())
    return float(np.max(differences))
