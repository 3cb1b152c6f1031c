"""The sliding window's step in INT8: its weights are read for each frame, which takes longer than to multiply them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from whycam.bundle import Bundle, Manifest
from whycam.detect.temperature import tempered
from whycam.errors import BundleError
from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.extractor import CPU_ONLY, open_session
from whycam_calibration.precision.int8 import only_errors

STEP = "step.onnx"


def quantize_step(bundle: Bundle) -> bytes:
    """The step graph of `bundle` as ONNX, its products in INT8: weights symmetric per column, the rest as it comes.

    States, and all between the products, stay in float32. Raises BundleError where the graph is missing or damaged,
    CalibrationError where there is no room to work in.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = bundle.file(STEP)
    with tempfile.TemporaryDirectory(prefix="whycam-") as folder, only_errors():
        quantized = Path(folder) / STEP
        try:
            model = onnx.load(path)
            quantize_dynamic(
                model, quantized, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8
            )
        except OSError as error:
            raise CalibrationError(f"{folder}: cannot be written ({error.strerror or error}); make room") from error
        except Exception as error:  # neither ONNX nor ONNX Runtime has a common base for what a damaged file raises
            reason = " ".join(str(error).split())[:200]
            raise BundleError(f"{path}: cannot be read as ONNX ({reason}); export the model again") from error
        return quantized.read_bytes()


class Stepper:
    """Runs a step graph of the model that `manifest` describes, on the CPU."""

    def __init__(self, content: bytes, manifest: Manifest) -> None:
        """Of the ONNX graph `content`; raises CalibrationError where ONNX Runtime cannot load it."""
        self._session = open_session(content, CPU_ONLY)
        self._temperature = manifest.temperature
        self._start = {state.name: np.zeros((1, *state.shape), np.float32) for state in manifest.step.states}

    def __call__(self, features: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """What a new window's first frame, features f32 [1, F], gives; all steps cost the same."""
        return self._run(features, self._start)

    def scores(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores f32 [K] of a window of features f32 [T, F], frame by frame as on the device."""
        outputs: dict[str, NDArray[np.float32]] = {}
        states = self._start
        for features in window:
            outputs = self._run(features[np.newaxis], states)
            states = {name: outputs[f"{name}_next"] for name in states}
        return tempered(outputs["logits"][0], outputs["scores"][0], self._temperature)

    def _run(self, features: NDArray[np.float32], states: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
        names = ["logits", "scores", *(f"{name}_next" for name in states)]
        return dict(zip(names, self._session.run(names, {"features": features, **states}), strict=True))
