from __future__ import annotations

import keras
import numpy as np
import pytest

from whycam_export.errors import TrainingError
from whycam_export.training.network import Architecture, paper_network, preprocess, vgg19


def test_the_default_is_the_papers_network() -> None:
    network = paper_network(4)

    assert network.input.shape == (None, 20, 112, 112, 3)
    assert network.output.shape == (None, 4)
    assert network.get_layer("pooling").output.shape == (None, 20, 4608)
    assert network.get_layer("gru").units == 1024
    assert [network.get_layer(f"dense_{index}").units for index in (1, 2, 3)] == [1024, 512, 128]
    assert all(network.get_layer(f"dropout_{index}").rate == 0.5 for index in (1, 2, 3))
    assert all(
        float(network.get_layer(f"dense_{index}").kernel_regularizer.l2) == pytest.approx(0.01) for index in (1, 2, 3)
    )
    assert network.get_layer("scores").activation is keras.activations.softmax


def test_the_backbone_is_keras_own_vgg19() -> None:
    reference = keras.applications.VGG19(weights=None, include_top=False, input_shape=(64, 64, 3))
    backbone = vgg19(64)
    backbone.set_weights(reference.get_weights())
    frames = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)

    assert [layer.name for layer in backbone.layers][1:] == [layer.name for layer in reference.layers][1:]
    given, expected = (np.asarray(model(preprocess(frames))) for model in (backbone, reference))
    assert np.abs(given - expected).max() <= 1e-5 * np.abs(expected).max()


def test_preprocessing_is_keras_caffe_mode_on_bgr_frames() -> None:
    bgr = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)

    expected = keras.applications.vgg19.preprocess_input(bgr[..., ::-1].astype(np.float32))

    assert preprocess(bgr) == pytest.approx(expected, abs=1e-4)


def test_width_scales_all_channels() -> None:
    assert [vgg19(32, 0.25).get_layer(f"block{block}_conv1").filters for block in (1, 2, 3, 4, 5)] == [
        16,
        32,
        64,
        128,
        128,
    ]


def test_average_pooling_gives_a_feature_per_channel() -> None:
    network = paper_network(2, Architecture(size=(64, 96), frames=3, pooling="average", units=4, dense=(), width=0.05))

    assert network.get_layer("pooling").output.shape == (None, 3, 26)
    assert network.predict(np.zeros((1, 3, 64, 96, 3), np.float32), verbose=0).shape == (1, 2)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": (31, 112)}, "--size 31x112"),
        ({"size": (112, 5000)}, "--size 112x5000"),
        ({"frames": 1}, "--frames 1"),
        ({"units": 0}, "--units 0"),
        ({"dense": (8, 0)}, "--dense 8,0"),
        ({"dropout": 1.0}, "--dropout 1"),
        ({"l2": -0.1}, "--l2 -0.1"),
        ({"width": 0.0}, "--width 0"),
        ({"width": float("nan")}, "--width nan"),
        ({"pooling": "max"}, "--pooling max"),
    ],
)
def test_an_impossible_network_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        Architecture(**wrong)
