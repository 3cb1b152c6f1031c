"""The proof that a bundle's graphs compute what Keras computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from whycam.bundle.manifest import Parity, StateTensor
from whycam.explain.methods import grad_cam
from whycam_export.convert.reference import Reference
from whycam_export.errors import ModelError

Array = np.ndarray[Any, Any]

LIMITS = {"features": 1e-4, "logits": 1e-4, "scores": 1e-4, "heatmaps": 1e-3, "step": 1e-5}
"""What is tolerated: features, logits (or 1) and heat maps relative to the largest, scores and step absolute."""

FAINTEST = 1e-3
"""Logits: fainter maps are measured against this. Behind a saturated GRU gradients are rounding errors in Keras too."""


@dataclass(frozen=True)
class Case:
    """A window to compare on: frames uint8 [T,H,W,3] BGR, and Keras's values for them."""

    name: str
    frames: Array
    reference: Reference


def measure(directory: Path, cases: list[Case], states: tuple[StateTensor, ...]) -> Parity:
    """Run the graphs in `directory` on the CPU and compare them with Keras; the worst of all cases."""
    extract, head, head_vjp, maps_vjp = (
        _session(directory / f"{name}.onnx") for name in ("features", "head", "head_vjp", "maps_vjp")
    )
    step = _session(directory / "step.onnx") if states else None
    errors: dict[str, list[float]] = {name: [] for name in LIMITS}
    for case in cases:
        expected = case.reference
        parts = [extract.run(["features", "maps"], {"frames": frame[None]}) for frame in case.frames]
        features, maps = (np.concatenate(part) for part in zip(*parts, strict=True))
        errors["features"].append(_relative(features, expected.features))
        logits, scores = (values[0] for values in head.run(["logits", "scores"], {"window": features[None]}))
        errors["logits"].append(_logits_error(logits, expected.logits))
        errors["scores"].append(float(np.abs(scores - expected.scores).max()))
        for index, cam in enumerate(expected.cams):
            target = np.zeros(len(scores), np.float32)
            target[index] = 1
            given = {"window": features, "target": target}
            logits, gradient = head_vjp.run(["logits", "feature_gradient"], given)
            errors["logits"].append(_logits_error(logits, expected.logits))
            map_gradient = maps_vjp.run(["map_gradient"], {"maps": maps, "feature_gradient": gradient})[0]
            found, wanted = grad_cam(maps, map_gradient), np.maximum(cam, 0)
            # Before the ReLU, so that a map which is all but nought after it is not measured against noise.
            scale = max(float(np.abs(cam).max()), FAINTEST)
            errors["heatmaps"].append(float(np.abs(found - wanted).max()) / scale)
        if step is not None:
            errors["step"].append(_step_error(step, head, features, states))
    # numpy's maximum, unlike Python's, lets what is not a number through to the check.
    features_error, logits_error, scores_error, heatmaps_error = (
        float(np.max(errors[name])) for name in LIMITS if name != "step"
    )
    return Parity(
        frames=sum(len(case.frames) for case in cases),
        features=features_error,
        logits=logits_error,
        scores=scores_error,
        heatmaps=heatmaps_error,
        step=float(np.max(errors["step"])) if step is not None else None,
    )


def check(parity: Parity) -> None:
    """Raise ModelError where a figure of `parity` is outside its limit (or not a number)."""
    for name, limit in LIMITS.items():
        error = getattr(parity, name)
        if error is not None and not error <= limit:
            raise ModelError(
                f"the exported graphs disagree with Keras: {name} by {error:.1e}, tolerated is {limit:.0e}; "
                "nothing was written. Are the model's weights finite?"
            )


def _session(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def _relative(found: Array, wanted: Array) -> float:
    return float(np.abs(found - wanted).max() / (np.abs(wanted).max() or 1.0))


def _logits_error(found: Array, wanted: Array) -> float:
    return float(np.abs(found - wanted).max() / max(float(np.abs(wanted).max()), 1.0))


def _step_error(
    step: ort.InferenceSession, head: ort.InferenceSession, features: Array, states: tuple[StateTensor, ...]
) -> float:
    """Slide over the window's frames twice, the second time backwards: T+1 full windows to compare."""
    frames = len(features)
    stream = np.concatenate([features, features[::-1]])
    state = {tensor.name: np.zeros((1, *tensor.shape), np.float32) for tensor in states}
    outputs = ["scores", *(f"{name}_next" for name in state)]
    differences = []
    for time, frame in enumerate(stream):
        scores, *following = step.run(outputs, {"features": frame[None], **state})
        state = dict(zip(state, following, strict=True))
        if time >= frames - 1:
            expected = head.run(["scores"], {"window": stream[None, time - frames + 1 : time + 1]})[0]
            differences.append(np.abs(scores - expected).max())
    return float(np.max(differences))
