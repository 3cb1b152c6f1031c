"""Keras's explanations by `GradientTape`, in two ways.

keras      the model as it was trained, TimeDistributed, differentiated step by step: how it is done today
compiled   the best that Keras can do: the frames as one batch through the CNN, all of it compiled by `tf.function`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.network import preprocess

Array = NDArray[np.float32]
Explainer = Callable[[NDArray[np.uint8]], Array]


class KerasTape:
    """Explains windows of frames uint8 [T, H, W, 3]."""

    def __init__(self, model: Path, layers: Sequence[str], label: int) -> None:
        """Of the logit `label`, with the maps of each of the CNN's `layers`."""
        self._explainers = {layer: _explainers(model, layer, label) for layer in layers}

    def explain(self, way: str, method: str, layer: str, frames: NDArray[np.uint8]) -> Array:
        """Grad-CAM f32 [T, h, w] of `layer`, or saliency [T, H, W]."""
        return self._explainers[layer][way][method](frames)


def _explainers(path: Path, layer: str, label: int) -> dict[str, dict[str, Explainer]]:
    import keras
    import tensorflow as tf

    from whycam_export.convert.chain import cut, load_model
    from whycam_export.convert.extractor import build_extractor

    chain = cut(load_model(path))
    extractor = build_extractor(chain, [layer])
    (*below, last) = chain.head
    below_frames = keras.layers.TimeDistributed(extractor.lower)
    upper = keras.Model(extractor.upper.inputs, extractor.upper.outputs[-1])
    above_frames = keras.layers.TimeDistributed(upper)

    def logit(features: Any) -> Any:
        values = features
        for each in below:
            values = each(values)
        return (tf.matmul(values, last.kernel) + last.bias)[0, label]

    def grad_cam(images: Any, below: Any, above: Any) -> Any:
        maps = below(images)
        with tf.GradientTape() as tape:
            tape.watch(maps)
            value = logit(above(maps))
        weights = tf.reduce_mean(tape.gradient(value, maps), axis=(-3, -2))
        return tf.nn.relu(tf.einsum("...c,...hwc->...hw", weights, maps))

    def saliency(images: Any, below: Any, above: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = logit(above(below(images)))
        return tf.reduce_max(tf.abs(tape.gradient(value, images)), axis=-1)

    def as_trained(explain: Any) -> Explainer:
        return lambda frames: explain(
            tf.convert_to_tensor(preprocess(frames)[None]), below_frames, above_frames
        ).numpy()[0]

    def compiled(explain: Any) -> Explainer:
        whole = tf.function(lambda images: explain(images, extractor.lower, lambda maps: upper(maps)[None]))
        return lambda frames: whole(tf.convert_to_tensor(preprocess(frames))).numpy()

    explanations = {"grad-cam": grad_cam, "saliency": saliency}
    return {
        "keras": {name: as_trained(explain) for name, explain in explanations.items()},
        "compiled": {name: compiled(explain) for name, explain in explanations.items()},
    }
