"""The scale of the features: taken out while the GRU is trained, and folded into its weights afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from whycam_export.training.features import Example, batch_input

_BATCH = 16


@dataclass(frozen=True, eq=False)
class Standardization:
    """Mean and deviation of each feature over the training windows.

    Raw VGG features are tens and more, so that a fresh GRU's gates are saturated and nothing learns. The GRU is trained
    on standardized features, and `fold` then moves the scale into its weights: what is saved is the plain network.
    """

    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]

    @classmethod
    def of(cls, features: Any, chosen: Sequence[Example]) -> Standardization:
        """The statistics of what the Keras model `features` gives, f32 [N, T, F], for the windows `chosen`."""
        count, total, squares = 0, np.float64(0), np.float64(0)
        for start in range(0, len(chosen), _BATCH):
            batch = batch_input(chosen[start : start + _BATCH])
            values = np.asarray(features.predict_on_batch(batch), dtype=np.float64)
            count += values.shape[0] * values.shape[1]
            total = total + values.sum(axis=(0, 1))
            squares = squares + np.square(values).sum(axis=(0, 1))
        mean = np.asarray(total / count)
        variance = np.maximum(squares / count - np.square(mean), 0)
        # A feature that hardly ever fires in training must not drown the others when it does.
        floor = max(float(variance.mean()), 1e-12)
        return cls(mean.astype(np.float32), np.sqrt(variance + floor).astype(np.float32))

    def between(self, features: Any, head: Any) -> Any:
        """The models `features` and `head` (as from `trained_part`) in one, standardized features passing between."""
        layer = keras.layers.Normalization(mean=self.mean, variance=np.square(self.deviation))
        return keras.Model(features.input, head(layer(features.output)))

    def fold(self, gru: Any) -> None:
        """Change the weights of the Keras layer `gru` so that on raw features it gives what it gave on standardized."""
        kernel, recurrent, bias = gru.get_weights()
        scaled = kernel / self.deviation[:, None]
        shift = self.mean @ scaled
        # With reset_after the bias has two rows, the input's and the recurrent one.
        bias[0] -= shift
        gru.set_weights([scaled, recurrent, bias])
