"""What Keras itself computes: the measure for every graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from whycam_export.convert.chain import Chain
from whycam_export.convert.extractor import Extractor
from whycam_export.convert.head import Head
from whycam_export.convert.head.reading import INERT

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Reference:
    """Keras's values for one window."""

    features: Array
    """f32 [T,F]"""
    scores: Array
    """f32 [K], of the untouched model"""
    logits: Array
    """f32 [K]"""
    cams: Array
    """f32 [K,T,h,w]: for each class sum_k alpha_k A_k, Grad-CAM before its ReLU (Selvaraju 2017, equations 1 and 2), of
    the logit."""


def keras_reference(chain: Chain, extractor: Extractor, head: Head, images: Array) -> Reference:
    """Run Keras on the preprocessed frames `images` f32 [T,H,W,3], with gradients by GradientTape."""
    maps = tf.convert_to_tensor(_in_parts(extractor.lower, images))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(maps)
        features = extractor.upper(maps, training=False)
        values = _logits(chain, head, features[None])[0]
        logits = [values[index] for index in range(head.classes)]
    cams = [tf.einsum("tc,thwc->thw", tf.reduce_mean(tape.gradient(logit, maps), (1, 2)), maps) for logit in logits]
    output = keras.ops.convert_to_numpy(chain.model(images[None], training=False))[0]
    return Reference(
        features.numpy(), _scores(chain, head, output), values.numpy(), np.stack([cam.numpy() for cam in cams])
    )


def _in_parts(model: keras.Model, images: Array, size: int = 8) -> Array:
    """A few frames at a time: the early layers of a large CNN take much memory."""
    parts = [model(images[start : start + size], training=False) for start in range(0, len(images), size)]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])


def _logits(chain: Chain, head: Head, features: Any) -> Any:
    """The head's Keras layers without the last activation."""
    last = _last(chain)
    x = features
    for layer in chain.head[: chain.head.index(last)]:
        x = layer(x)
    if isinstance(last, keras.layers.Dense):
        x = tf.matmul(x, last.kernel) + (last.bias if last.use_bias else 0.0)
    return tf.concat([-x, x], -1) if head.single_sigmoid else x


def _scores(chain: Chain, head: Head, output: Array) -> Array:
    """The model's output as a score per class, whether it ends in scores or in logits."""
    function = getattr(getattr(_last(chain), "activation", None), "__name__", "softmax")
    if head.single_sigmoid:
        p = output[0] if function == "sigmoid" else 1 / (1 + np.exp(-output[0]))
        return np.array([1 - p, p], np.float32)
    return np.asarray(tf.nn.softmax(output) if function == "linear" else output, np.float32)


def _last(chain: Chain) -> keras.Layer:
    return next(layer for layer in reversed(chain.head) if not isinstance(layer, INERT))
