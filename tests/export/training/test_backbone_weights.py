from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whycam_export.errors import TrainingError
from whycam_export.training.backbone_weights import load_backbone_weights
from whycam_export.training.network import vgg19


@pytest.fixture(scope="module")
def source() -> Any:
    return vgg19(32, 0.1)


def quantized(weights: np.ndarray, per_channel: bool) -> dict[str, np.ndarray]:
    axes = tuple(range(weights.ndim - 1)) if per_channel else None
    low, high = weights.min(axis=axes), weights.max(axis=axes)
    scale = np.maximum((high - low) / 255, 1e-12)
    return {"q": np.round((weights - low) / scale).astype(np.uint8), "scale_min": np.stack([scale, low])}


def save_npz(path: Path, model: Any, per_channel: bool) -> Path:
    arrays = {
        f"{layer.name}/{kind}|{key}": array
        for layer in model.layers
        for kind, weights in zip(("kernel", "bias"), layer.get_weights(), strict=False)
        for key, array in quantized(weights.astype(np.float64), per_channel).items()
    }
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("name", ["model.h5", "some.weights.h5"])
def test_weights_that_keras_saved_are_loaded(tmp_path: Path, source: Any, name: str) -> None:
    path = tmp_path / name
    source.save_weights(path) if name == "some.weights.h5" else source.save(path)
    model = vgg19(32, 0.1)

    load_backbone_weights(model, path)

    assert all((mine == theirs).all() for mine, theirs in zip(model.get_weights(), source.get_weights(), strict=True))


@pytest.mark.parametrize("per_channel", [False, True])
def test_8_bit_weights_are_scale_times_q_plus_min(tmp_path: Path, source: Any, per_channel: bool) -> None:
    path = save_npz(tmp_path / "weights.npz", source, per_channel)
    model = vgg19(32, 0.1)

    load_backbone_weights(model, path)

    for mine, theirs in zip(model.get_weights(), source.get_weights(), strict=True):
        assert np.abs(mine - theirs).max() <= (theirs.max() - theirs.min()) / 255


def test_none_leaves_the_model_as_it_is(source: Any) -> None:
    before = source.get_weights()

    load_backbone_weights(source, "none")

    assert all((now == then).all() for now, then in zip(source.get_weights(), before, strict=True))


def test_real_vgg19_weights_are_loaded(shared_data: Path) -> None:
    model = vgg19(32)

    load_backbone_weights(model, shared_data / "vgg19_imagenet_notop_uint8.npz")

    assert model.get_layer("block1_conv1").get_weights()[0].std() == pytest.approx(0.2, abs=0.1)


def test_weights_of_another_width_are_refused_with_the_width_they_need(tmp_path: Path, source: Any) -> None:
    path = save_npz(tmp_path / "weights.npz", source, per_channel=False)

    with pytest.raises(TrainingError, match=r"block1_conv1 is 3x3x3x6, the network's is 3x3x3x13; give --width 0\.09"):
        load_backbone_weights(vgg19(32, 0.2), path)


def test_weights_that_lack_a_layer_are_refused(tmp_path: Path, source: Any) -> None:
    path = save_npz(tmp_path / "weights.npz", source, per_channel=False)
    with np.load(path) as archive:
        np.savez(path, **{key: archive[key] for key in archive.files if not key.startswith("block3_conv2")})

    with pytest.raises(TrainingError, match=r"no weights for block3_conv2 \(1 of 16"):
        load_backbone_weights(vgg19(32, 0.1), path)


@pytest.mark.parametrize("name", ["weights.h5", "weights.npz"])
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, source: Any, name: str) -> None:
    (tmp_path / name).write_bytes(b"neither" * 50)

    with pytest.raises(TrainingError, match=name) as error:
        load_backbone_weights(source, tmp_path / name)

    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path, source: Any) -> None:
    with pytest.raises(TrainingError, match="no such weights file"):
        load_backbone_weights(source, tmp_path / "nowhere.npz")


def test_another_kind_of_file_is_refused(source: Any) -> None:
    with pytest.raises(TrainingError, match=r"imagenet, none, or a file that ends in \.h5 or \.npz"):
        load_backbone_weights(source, "imagnet")


def test_another_models_h5_is_refused(tmp_path: Path, source: Any) -> None:
    import keras

    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "other.h5")

    with pytest.raises(TrainingError, match="holds no layer of VGG19"):
        load_backbone_weights(source, tmp_path / "other.h5")
