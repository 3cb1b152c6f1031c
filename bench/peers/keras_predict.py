"""Keras as such models are run today: `model.predict` on the whole window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.network import Network, preprocess


class KerasPredict:
    """`model.predict`, preprocessing included."""

    def __init__(self, network: Network) -> None:
        import keras

        self.frames = network.shape.frames
        self._model = keras.models.load_model(network.model, compile=False)

    def decide(self, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._model.predict(preprocess(window)[np.newaxis], verbose=0)[0]
        return found
