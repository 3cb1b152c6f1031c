"""Building TensorRT's engines ahead of time: the service would else wait minutes for its first decision."""

from __future__ import annotations

import numpy as np

from whycam.bundle import Bundle
from whycam.default_methods import METHOD
from whycam.detect.engines import engine_folder
from whycam.detect.model import Model
from whycam.detect.providers import TENSORRT, title
from whycam.detect.sessions import feature_file
from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.progress import Progress

_STEPS = "TensorRT engines"


def check_tensorrt() -> None:
    """Raise CalibrationError where this ONNX Runtime has no TensorRT."""
    import onnxruntime

    there = onnxruntime.get_available_providers()
    if TENSORRT not in there:
        raise CalibrationError(
            f"--tensorrt: the ONNX Runtime installed here has no {TENSORRT} (it has {', '.join(there)}); run it on the "
            "device, with the vendor's build of ONNX Runtime"
        )


def build_engines(bundle: Bundle, precision: str, progress: Progress) -> str:
    """Build and keep the engines of what scores and explains in `precision`; returns the feature extractor's folder.

    `whycam run` on this device finds them by the same key, with the provider `tensorrt`.

    Raises CalibrationError where this ONNX Runtime has no TensorRT, or it does not take the feature extractor;
    InputError where nor does CUDA, or the bundle lacks the precision.
    """
    check_tensorrt()
    manifest = bundle.manifest
    progress(_STEPS, 0, 3)
    model = Model(bundle, precision, ["tensorrt"])
    if TENSORRT not in model.providers:
        raise CalibrationError(
            f"--tensorrt: no engine was built, {title(model.providers[0])} runs the network instead; see the line above"
        )
    progress(_STEPS, 1, 3)
    size = manifest.input
    window = model.snapshot(np.zeros((manifest.window.frames, size.height, size.width, 3), np.uint8))
    progress(_STEPS, 2, 3)
    if METHOD in model.methods:
        model.explain(window)
    progress(_STEPS, 3, 3)
    return str(engine_folder(manifest.files[feature_file(manifest, precision)].sha256))
