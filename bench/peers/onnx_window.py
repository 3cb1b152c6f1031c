"""The change of runtime alone: the extractor on all frames of the window, then the head, on ONNX Runtime."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.network import Network


class OnnxWindow:
    """The bundle's graphs as anybody would run them."""

    def __init__(self, network: Network) -> None:
        import onnxruntime

        self.frames = network.shape.frames
        self._extractor, self._head = (
            onnxruntime.InferenceSession(network.bundle / name, providers=["CPUExecutionProvider"])
            for name in ("features.onnx", "head.onnx")
        )

    def decide(self, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        (features,) = self._extractor.run(["features"], {"frames": window})
        found: NDArray[np.float32] = self._head.run(["scores"], {"window": features[np.newaxis]})[0][0]
        return found
