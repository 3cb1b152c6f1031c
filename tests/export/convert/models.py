"""Small Keras models of many forms, for the tests of export."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import layers


def small_cnn(size: int = 32) -> keras.Model:
    """A functional CNN [size,size,3] -> [h,w,8] with two convolutions in a chain."""
    image = x = keras.Input((size, size, 3))
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="first_conv")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="last_conv")(x)
    return keras.Model(image, layers.MaxPooling2D()(x), name="small_cnn")


def plain() -> keras.Model:
    """The form of the paper's network, as small as it goes."""
    return keras.Sequential(
        [
            keras.Input((5, 32, 32, 3)),
            layers.TimeDistributed(small_cnn()),
            layers.TimeDistributed(layers.Flatten()),
            layers.GRU(6),
            layers.Dense(4, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax"),
        ]
    )


def two_stacked_grus() -> keras.Model:
    """Functional, two GRUs, ending in logits."""
    frames = keras.Input((5, 32, 32, 3))
    x = layers.TimeDistributed(small_cnn())(frames)
    x = layers.TimeDistributed(layers.GlobalMaxPooling2D())(x)
    x = layers.GRU(6, return_sequences=True, reset_after=False)(x)
    x = layers.GRU(5)(x)
    return keras.Model(frames, layers.Dense(3)(x))


def bidirectional_lstm() -> keras.Model:
    """A bidirectional LSTM over a sequence that is pooled, ending in a single sigmoid."""
    return keras.Sequential(
        [
            keras.Input((5, 32, 32, 3)),
            layers.TimeDistributed(small_cnn()),
            layers.Reshape((5, -1)),
            layers.Bidirectional(layers.LSTM(6, return_sequences=True)),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def average_pooled_mobilenet() -> keras.Model:
    """Another backbone of keras.applications, average pooling, sequence pooling."""
    backbone = keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, include_top=False, weights=None)
    frames = keras.Input((4, 64, 64, 3))
    x = layers.TimeDistributed(backbone)(frames)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    x = layers.LSTM(6, return_sequences=True)(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(frames, layers.Dense(2, activation="softmax")(x))


def chain_of_time_distributed_layers() -> keras.Model:
    """Every layer in a TimeDistributed of its own, preprocessing inside, a window length left open."""
    return keras.Sequential(
        [
            keras.Input((None, 30, 26, 3)),
            layers.Rescaling(1 / 255),
            layers.TimeDistributed(layers.Conv2D(5, 3, strides=2, activation="relu", name="inner_conv")),
            layers.TimeDistributed(layers.BatchNormalization()),
            layers.TimeDistributed(layers.AveragePooling2D(2)),
            layers.TimeDistributed(layers.Dropout(0.3)),
            layers.TimeDistributed(layers.Flatten()),
            layers.TimeDistributed(layers.Dense(9, activation="tanh")),
            layers.GRU(6),
            layers.Dense(3),
            layers.Softmax(),
        ]
    )


FORMS: dict[str, Callable[[], keras.Model]] = {
    "plain": plain,
    "two stacked GRUs": two_stacked_grus,
    "bidirectional LSTM": bidirectional_lstm,
    "average-pooled MobileNetV2": average_pooled_mobilenet,
    "chain of TimeDistributed layers": chain_of_time_distributed_layers,
}


def saved(make: Callable[[], keras.Model], path: str) -> keras.Model:
    """The model that `make` builds, with weights that are not what they start as, saved at `path`."""
    keras.utils.set_random_seed(2)
    model = make()
    rng = np.random.default_rng(3)
    model.set_weights([w + 0.1 * np.abs(rng.normal(size=w.shape)).astype(np.float32) for w in model.get_weights()])
    model.save(path)
    return model
