"""The layers that are trained, cut out of the network and sharing its weights."""

from __future__ import annotations

from typing import Any

import keras

from whycam_export.training.features import LAST_FROZEN, FineTune


def trained_part(network: Any, fine_tune: FineTune) -> tuple[Any, Any]:
    """The layers of the paper's `network` behind its frozen part, as two models that share its weights.

    The first takes what the frozen part gives, f32 [N, T, ...], to pooled features f32 [N, T, F]; the second takes
    these to scores f32 [N, K].
    """
    backbone = network.get_layer("backbone").layer
    last = LAST_FROZEN[fine_tune]
    cut = backbone.get_layer(last).output if last else backbone.input
    values = window = keras.Input((network.input.shape[1], *cut.shape[1:]))
    if cut is not backbone.output:
        values = keras.layers.TimeDistributed(keras.Model(cut, backbone.output))(values)
    pooling = network.get_layer("pooling")
    pooled = pooling(values)
    scores = features = keras.Input(pooled.shape[1:])
    for layer in network.layers[network.layers.index(pooling) + 1 :]:
        scores = layer(scores)
    return keras.Model(window, pooled), keras.Model(features, scores)
