"""Attention pooling: a weighted mean whose weights the network learns, and which therefore say what it looked at.

Each item x gets the score v . tanh(W x + b) (Bahdanau et al. 2015, eq. 6, without a decoder's state, as in Yang et al.
2016, eq. 5 to 7); the softmax of the scores are the weights of the mean.
"""

from __future__ import annotations

from typing import Any

import keras

ops = keras.ops
PACKAGE = "whycam"


class _AttentionPooling(keras.layers.Layer):  # type: ignore[misc] # keras has no types
    """[..., n, C] -> [..., C], over the second last axis."""

    def __init__(self, units: int = 32, **options: Any) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, shape: tuple[int | None, ...]) -> None:
        """See keras.layers.Layer."""
        # Small, so that training starts near the plain mean.
        small = keras.initializers.RandomNormal(stddev=0.05, seed=None)
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], self.units), initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
        self.query = self.add_weight(name="query", shape=(self.units, 1), initializer=small)
        self.built = True

    def weights_of(self, items: Any) -> Any:
        """[N, n, C] -> the weights of the items [N, n], which sum to 1."""
        hidden = ops.tanh(ops.add(ops.matmul(items, self.kernel), self.bias))
        return ops.softmax(ops.squeeze(ops.matmul(hidden, self.query), -1), axis=-1)

    def pooled(self, items: Any) -> Any:
        """[N, n, C] -> [N, C]."""
        return ops.sum(ops.multiply(ops.expand_dims(self.weights_of(items), -1), items), axis=1)

    def get_config(self) -> dict[str, Any]:
        """See keras.layers.Layer."""
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(PACKAGE)
class TemporalAttention(_AttentionPooling):
    """The states of a sequence, f32 [N, T, U], as one vector [N, U]."""

    def call(self, states: Any) -> Any:
        """See keras.layers.Layer."""
        return self.pooled(states)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """See keras.layers.Layer."""
        return (shape[0], shape[2])


@keras.saving.register_keras_serializable(PACKAGE)
class SpatialAttention(_AttentionPooling):
    """The places of maps, f32 [N, h, w, C], as one vector [N, C]."""

    def call(self, maps: Any) -> Any:
        """See keras.layers.Layer."""
        return self.pooled(_places(maps))

    def attend(self, maps: Any) -> Any:
        """The weights of the places, f32 [N, h, w]; a frame's sum to 1."""
        _, height, width, _ = maps.shape
        return ops.reshape(self.weights_of(_places(maps)), (-1, height, width))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """See keras.layers.Layer."""
        return (shape[0], shape[3])


class SpatialWeights(keras.layers.Layer):  # type: ignore[misc] # keras has no types
    """The weights of a `SpatialAttention` layer in place of what it pools: [N, h, w, C] -> [N, h, w]."""

    def __init__(self, attention: SpatialAttention) -> None:
        super().__init__()
        self.attention = attention

    def call(self, maps: Any) -> Any:
        """See keras.layers.Layer."""
        return self.attention.attend(maps)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """See keras.layers.Layer."""
        return shape[:3]


def _places(maps: Any) -> Any:
    _, height, width, channels = maps.shape
    return ops.reshape(maps, (-1, height * width, channels))
