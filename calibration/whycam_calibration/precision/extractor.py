"""A feature extractor that is not in the bundle yet, ready to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Manifest
from whycam.detect.graphs import numbered
from whycam_calibration.errors import CalibrationError

if TYPE_CHECKING:
    import onnxruntime

Maps = tuple[NDArray[np.float32], ...]

CPU_ONLY = ("CPUExecutionProvider",)


class Extractor:
    """Runs a feature extractor of the model that `manifest` describes."""

    def __init__(self, content: bytes, manifest: Manifest, providers: Sequence[str] = CPU_ONLY) -> None:
        """Of the ONNX graph `content`; raises CalibrationError where ONNX Runtime cannot load it."""
        self._session = open_session(content, providers)
        self._outputs = ["features", *(numbered("maps", index) for index in range(len(manifest.cams)))]

    def __call__(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Maps]:
        """Features f32 [N, F], and maps f32 [N, C, h, w] of each CAM layer, of images uint8 [N, H, W, 3] BGR."""
        features, *maps = self._session.run(self._outputs, {"frames": images})
        return features, tuple(maps)


def open_session(content: bytes, providers: Sequence[str]) -> onnxruntime.InferenceSession:
    """A session of the ONNX graph `content`; raises CalibrationError where ONNX Runtime cannot load it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # As on the device: sessions are timed beside one another.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(content, options, providers=list(providers))
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        reason = " ".join(str(error).split())[:200]
        raise CalibrationError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load the quantized network ({reason})"
        ) from error
