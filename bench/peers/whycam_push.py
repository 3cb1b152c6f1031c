"""whycam: `Detector.push` of the new frame alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.network import Network


class WhycamFp32:
    """A detector on the CPU."""

    precision = "fp32"

    def __init__(self, network: Network) -> None:
        import whycam

        self.frames = network.shape.frames
        self._detector = whycam.load(network.bundle, self.precision, providers=["cpu"])
        self._started = False

    def decide(self, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        for frame in () if self._started else window[:-1]:
            self._detector.push(frame)
        self._started = True
        decision = self._detector.push(window[-1])
        assert decision is not None
        assert decision.warm
        return np.array(list(decision.scores.values()), dtype=np.float32)


class WhycamInt8(WhycamFp32):
    """The same in INT8."""

    precision = "int8"
