"""`--cam-layer auto`: the layer that explains the clips best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from keras import Input, Model, Sequential, layers

from tests.export.evaluation.fire_clips import QUARTERS, Scene, write
from whycam_export.convert import ExportOptions
from whycam_export.convert.chain import cut
from whycam_export.convert.extractor import stage_layers
from whycam_export.errors import ModelError
from whycam_export.evaluation.layers import try_layers


def reddish() -> Sequential:
    """A network that sees red: its first layer where it is, its second only that it is somewhere."""
    image = x = Input((32, 32, 3))
    x = layers.Conv2D(2, 1, activation="relu", name="colours")(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.Conv2D(2, 1, activation="relu", name="fine")(x)
    x = layers.AveragePooling2D(4)(x)
    x = layers.Conv2D(2, 4, padding="same", activation="relu", name="coarse")(x)
    cnn = Model(image, layers.GlobalAveragePooling2D()(x))
    model = Sequential([Input((4, 32, 32, 3)), layers.TimeDistributed(cnn), layers.GRU(2), layers.Dense(2)])
    red = np.zeros((1, 1, 3, 2), np.float32)
    red[0, 0, :, 0] = (1 / 255, -1 / 255, -1 / 255)
    same = np.eye(2, dtype=np.float32)[None, None]
    blurred = np.zeros((4, 4, 2, 2), np.float32)
    blurred[..., 0, 0] = 1 / 4
    cnn.get_layer("colours").set_weights([red, np.zeros(2, np.float32)])
    cnn.get_layer("fine").set_weights([same, np.zeros(2, np.float32)])
    cnn.get_layer("coarse").set_weights([blurred, np.zeros(2, np.float32)])
    kernel, recurrent, bias = (np.zeros_like(weight) for weight in model.layers[1].get_weights())
    kernel[0, 4] = 9
    model.layers[1].set_weights([kernel, recurrent, bias])
    model.layers[2].set_weights([np.array([[-20, 20], [0, 0]], np.float32), np.array([1, -1], np.float32)])
    return model


def test_of_each_size_of_maps_the_last_layer_is_tried() -> None:
    assert stage_layers(cut(reddish())) == ["fine", "coarse"]


def test_the_layer_whose_peaks_lie_in_the_masks_is_the_best(tmp_path: Path) -> None:
    reddish().save(tmp_path / "red.keras")
    clips = write(tmp_path / "clips", *(Scene(f"q{quarter}", quarter=quarter) for quarter in range(len(QUARTERS))))
    options = ExportOptions(classes=("normal", "fire"), normal="normal", frame_interval=0.1, preprocess="none")

    tried = try_layers(tmp_path / "red.keras", clips, options)

    assert tried[0].layer == "fine"
    assert {each.figure for each in tried} == {"pointing"}
    assert tried[0].value.value == 1
    assert len(tried) == 2


def test_layers_are_tried_on_clips_too_short_to_tell_what_is_usual(tmp_path: Path) -> None:
    reddish().save(tmp_path / "red.keras")
    clips = write(tmp_path / "clips", Scene("short", onset=0, frames=5))
    options = ExportOptions(classes=("normal", "fire"), normal="normal", frame_interval=0.1, preprocess="none")
    tried = try_layers(tmp_path / "red.keras", clips, options)
    assert {each.layer for each in tried} == {"fine", "coarse"}


def test_a_network_without_maps_to_choose_is_refused(tmp_path: Path) -> None:
    frames = [layers.TimeDistributed(layers.Conv2D(2, 1)), layers.TimeDistributed(layers.Flatten())]
    Sequential([Input((4, 2, 2, 3)), *frames, layers.GRU(2), layers.Dense(2)]).save(tmp_path / "tiny.keras")
    with pytest.raises(ModelError, match="--cam-layer auto: the per-frame network has no layer to choose"):
        try_layers(tmp_path / "tiny.keras", tmp_path, ExportOptions())
