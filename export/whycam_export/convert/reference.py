"""What Keras itself computes: the measure for every graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from whycam_export.attention import TemporalAttention
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
    cams: tuple[Array, ...]
    """For each CAM layer f32 [K,T,h,w]: for each class sum_k alpha_k A_k, Grad-CAM before its ReLU (Selvaraju 2017,
    equations 1 and 2), of the logit."""
    feature_gradient: Array
    """f32 [T,F], of the highest logit."""
    image_gradient: Array | None
    """f32 [T,H,W,3], of the highest logit by the preprocessed frames; None where it was not asked for."""
    attention: tuple[Array, Array] | None
    """Its weights of the places f32 [T,h,w] and of the frames [T], where the model has both."""
    guided_gradient: Array | None
    """The same, but that only what is positive passes a ReLU backwards (Springenberg 2015)."""
    nudged_features: Array
    """`features`, had each preprocessed pixel been the next larger number: how far rounding alone moves them."""
    nudged_cams: tuple[Array, ...]
    """The same of `cams`."""


def keras_reference(chain: Chain, extractor: Extractor, head: Head, images: Array, *, pixels: bool) -> Reference:
    """Run Keras on the preprocessed frames `images` f32 [T,H,W,3], with gradients by GradientTape; those by the
    `pixels` where they are asked for."""
    maps, features, values, cams, feature_gradient = _explained(chain, extractor, head, images)
    _, nudged_features, _, nudged_cams, _ = _explained(chain, extractor, head, np.nextafter(images, np.float32(np.inf)))
    image_gradient = guided_gradient = None
    if pixels:
        image_gradient = _image_gradient(extractor, images, feature_gradient)
        with guided_activations([extractor.lower, extractor.upper]):
            guided_gradient = _image_gradient(extractor, images, feature_gradient)
    output = keras.ops.convert_to_numpy(chain.model(images[None], training=False))[0]
    return Reference(
        features=features.numpy(),
        nudged_features=nudged_features.numpy(),
        nudged_cams=nudged_cams,
        scores=_scores(chain, head, output),
        logits=values.numpy(),
        cams=cams,
        feature_gradient=feature_gradient,
        image_gradient=image_gradient,
        attention=_attention(chain, extractor, maps, features),
        guided_gradient=guided_gradient,
    )


def _explained(chain: Chain, extractor: Extractor, head: Head, images: Array) -> tuple[Any, Any, Any, Any, Array]:
    """The maps of the first CAM layer, the features, the logits, the `cams`, and the highest logit's gradient."""
    maps = tf.convert_to_tensor(_in_parts(extractor.lower, images))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(maps)
        *others, features = _listed(extractor.upper(maps, training=False))
        tape.watch(features)
        values = _logits(chain, head, features[None])[0]
        logits = [values[index] for index in range(head.classes)]
    layers = [maps, *others]
    cams = tuple(np.stack([_grad_cam(tape.gradient(logit, layer), layer) for logit in logits]) for layer in layers)
    return maps, features, values, cams, tape.gradient(logits[int(tf.argmax(values))], features).numpy()


def _attention(chain: Chain, extractor: Extractor, maps: Any, features: Any) -> tuple[Array, Array] | None:
    pooling = next((layer for layer in chain.head if isinstance(layer, TemporalAttention)), None)
    if extractor.attention is None or pooling is None:
        return None
    states = features[None]
    for layer in chain.head[: chain.head.index(pooling)]:
        states = layer(states)
    places = _listed(extractor.attention(maps, training=False))[0]
    return places.numpy(), pooling.weights_of(states)[0].numpy()


@contextmanager
def guided_activations(models: Sequence[keras.Model]) -> Iterator[None]:
    """Let the ReLUs of `models` pass backwards only what is positive, as guided backpropagation does."""
    swapped = []
    for layer in {id(layer): layer for model in models for layer in model.layers}.values():
        function = getattr(layer, "activation", None)
        if isinstance(layer, keras.layers.ReLU):
            swapped.append((layer, "call", layer.call))
            layer.call = partial(_guided_relu, highest=layer.max_value)
        elif function in (keras.activations.relu, keras.activations.relu6):
            swapped.append((layer, "activation", function))
            layer.activation = partial(_guided_relu, highest=6.0 if function is keras.activations.relu6 else None)
    try:
        yield
    finally:
        for layer, name, value in swapped:
            setattr(layer, name, value)


def _guided_relu(x: Any, highest: float | None = None) -> Any:
    def guided(x: Any) -> Any:
        active = (x > 0) if highest is None else (x > 0) & (x < highest)
        y = tf.nn.relu(x) if highest is None else tf.clip_by_value(x, 0, highest)
        return y, lambda dy: tf.where(active & (dy > 0), dy, 0)

    return tf.custom_gradient(guided)(x)


def _image_gradient(extractor: Extractor, images: Array, feature_gradient: Array, size: int = 4) -> Array:
    parts = []
    for start in range(0, len(images), size):
        some = tf.convert_to_tensor(images[start : start + size])
        with tf.GradientTape() as tape:
            tape.watch(some)
            features = _listed(extractor.upper(extractor.lower(some, training=False), training=False))[-1]
        parts.append(tape.gradient(features, some, feature_gradient[start : start + size]).numpy())
    return np.concatenate(parts)


def _grad_cam(gradient: Any, maps: Any) -> Array:
    cam: Array = tf.einsum("tc,thwc->thw", tf.reduce_mean(gradient, (1, 2)), maps).numpy()
    return cam


def _listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


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
