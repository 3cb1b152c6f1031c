"""The demo's backbone: the asset loads as a plain VGG19, and folding batch normalisation changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from whycam_export.demo.backbone import FIRST_SEED
from whycam_export.demo.run import BACKBONE, MOST_SEEDS, Plan
from whycam_export.demo.scenes import CLASSES
from whycam_export.demo.stills import SIZE, take_stills

keras = pytest.importorskip("keras", reason="the backbone is a Keras network")


def test_the_asset_is_small_enough_for_the_package() -> None:
    assert BACKBONE.stat().st_size <= 3_000_000


def test_the_asset_loads_as_a_plain_thin_vgg19() -> None:
    from whycam_export.training.backbone_weights import load_backbone_weights
    from whycam_export.training.network import vgg19

    model = vgg19(SIZE, width=0.25)
    load_backbone_weights(model, BACKBONE)

    features = model.predict(np.zeros((1, SIZE, SIZE, 3), np.float32), verbose=0)
    assert features.shape == (1, 3, 3, 128)
    assert np.isfinite(features).all()


def test_its_features_tell_the_classes_of_unseen_scenes_apart() -> None:
    from sklearn.linear_model import LogisticRegression

    from whycam_export.training.backbone_weights import load_backbone_weights
    from whycam_export.training.network import preprocess, vgg19

    model = vgg19(SIZE, width=0.25)
    load_backbone_weights(model, BACKBONE)
    learn, unseen = take_stills(range(500_000, 500_012)), take_stills(range(600_000, 600_006))
    features = [
        model.predict(preprocess(part.frames), verbose=0).reshape(len(part.labels), -1) for part in (learn, unseen)
    ]

    line = LogisticRegression(C=0.1, max_iter=500).fit(features[0], learn.labels)

    assert line.score(features[1], unseen.labels) > 0.9


def test_the_backbone_never_saw_a_scene_of_any_demo(tmp_path) -> None:
    last = Plan(tmp_path, MOST_SEEDS - 1)

    assert max(shoot.seed for split in ("train", "validation", "test") for shoot in last.shoots(split)) < FIRST_SEED


def test_folding_and_rounding_leave_the_maps_as_they_are(tmp_path) -> None:
    from whycam_export.demo.backbone_fit import folded, normalised_vgg19, write_asset
    from whycam_export.training.backbone_weights import load_backbone_weights
    from whycam_export.training.network import vgg19

    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    model = normalised_vgg19(0.125)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            layer.set_weights(
                [rng.uniform(0.5, 1.5, n), rng.normal(0, 0.2, n), rng.normal(0, 0.1, n), rng.uniform(0.5, 2, n)]
            )
    write_asset(tmp_path / "asset.npz", folded(model))
    plain = vgg19(SIZE, width=0.125)
    load_backbone_weights(plain, tmp_path / "asset.npz")

    frames = rng.normal(0, 60, (2, SIZE, SIZE, 3)).astype(np.float32)
    relu = model.get_layer("block3_conv4_norm").output
    expected = np.maximum(keras.Model(model.input, relu).predict(frames, verbose=0), 0)
    maps = keras.Model(plain.input, plain.get_layer("block3_conv4").output).predict(frames, verbose=0)

    assert np.abs(maps - expected).max() < 0.05 * expected.max()


def test_stills_carry_the_class_and_the_place_of_what_they_show() -> None:
    stills = take_stills(range(700_000, 700_003))

    assert stills.frames.shape[1:] == (SIZE, SIZE, 3)
    assert set(stills.labels.tolist()) == set(range(len(CLASSES)))
    np.testing.assert_array_equal(stills.masks.any(axis=(1, 2)), stills.labels > 0)
