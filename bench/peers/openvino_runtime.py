"""OpenVINO on the graphs of the bundle: on the whole window, or as whycam does, on the new frame alone.

It has no sliding window of its own, so even in the second way its head runs over the window of features.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.network import Network

Array = NDArray[np.float32]


class OpenVinoWindow:
    """All frames of the window through the CNN, then the head."""

    file = "features.onnx"

    def __init__(self, network: Network) -> None:
        import openvino

        self.frames = network.shape.frames
        core = openvino.Core()
        # In bfloat16, which it would choose on some processors, it would not compute the same.
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": os.cpu_count(),
        }
        extractor = core.read_model(network.bundle / self.file)
        extractor.reshape({"frames": [self._batch(), network.shape.side, network.shape.side, 3]})
        head = core.read_model(network.bundle / "head.onnx")
        head.reshape({"window": [1, self.frames, network.features]})
        self._extractor = core.compile_model(extractor, "CPU", options)
        self._head = core.compile_model(head, "CPU", options)

    def decide(self, window: NDArray[np.uint8]) -> Array:
        return self._score(self._features(window))

    def _batch(self) -> int:
        return self.frames

    def _features(self, frames: NDArray[np.uint8]) -> Array:
        found: Array = self._extractor({"frames": frames})["features"]
        return found

    def _score(self, features: Array) -> Array:
        found: Array = self._head({"window": features[np.newaxis]})["scores"][0]
        return found.copy()


class OpenVinoFrames(OpenVinoWindow):
    """The new frame through the CNN, then the head over the features kept."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._kept: Array | None = None

    def decide(self, window: NDArray[np.uint8]) -> Array:
        if self._kept is None:
            self._kept = np.concatenate([self._features(frame[np.newaxis]) for frame in window])
        else:
            self._kept = np.concatenate([self._kept[1:], self._features(window[-1:])])
        return self._score(self._kept)

    def _batch(self) -> int:
        return 1

    def _features(self, frames: NDArray[np.uint8]) -> Array:
        return super()._features(frames).copy()


class OpenVinoFramesInt8(OpenVinoFrames):
    """The same on the bundle's portable INT8 extractor."""

    file = "features.int8.onnx"
