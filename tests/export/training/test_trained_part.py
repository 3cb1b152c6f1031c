from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whycam.clips import Clip
from whycam_export.training.features import Example, FrozenBackbone, batch_input
from whycam_export.training.fit import predict
from whycam_export.training.network import Architecture, paper_network, preprocess
from whycam_export.training.standardization import Standardization
from whycam_export.training.trained_part import trained_part


@pytest.mark.parametrize("pooling", ["flatten", "average", "attention"])
@pytest.mark.parametrize("fine_tune", ["none", "block5", "all"])
def test_the_whole_network_predicts_what_the_trained_part_did_on_features(fine_tune: str, pooling: str) -> None:
    pooled = {"attention": True} if pooling == "attention" else {"pooling": pooling}
    shape = Architecture(size=(64, 64), frames=3, units=8, dense=(8,), width=0.05, **pooled)
    network = paper_network(2, shape)
    windows = np.random.default_rng(0).integers(0, 256, (12, 3, 64, 64, 3), dtype=np.uint8)
    values = FrozenBackbone(network.get_layer("backbone").layer, fine_tune)(windows)
    chosen = [Example(value, index % 2, Clip(Path(f"{index}"), "", "")) for index, value in enumerate(values)]
    features, head = trained_part(network, fine_tune)
    standardization = Standardization.of(features, chosen)
    model = standardization.between(features, head)
    before = predict(model, chosen, 4)

    # Stands for training: every weight that training may change does.
    generator = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(weight + generator.normal(0, 0.05, weight.shape))
    trained = predict(model, chosen, 4)
    standardization.fold(network.get_layer("gru"))

    assert np.abs(trained - before).max() > 1e-3
    assert network.predict(preprocess(windows), verbose=0) == pytest.approx(trained, abs=1e-5)


def test_a_frozen_backbone_stays_as_it_was() -> None:
    network = paper_network(2, Architecture(size=(64, 64), frames=3, units=8, dense=(8,), width=0.05))

    trainable = {weight.path for weight in trained_part(network, "none")[1].trainable_weights}
    whole = trained_part(network, "none")[0].trainable_weights

    assert whole == []
    assert all("conv" not in path for path in trainable)


def test_block5_alone_is_trained_where_that_is_asked() -> None:
    network = paper_network(2, Architecture(size=(64, 64), frames=3, units=8, dense=(8,), width=0.05))

    paths = [weight.path for weight in trained_part(network, "block5")[0].trainable_weights]

    assert len(paths) == 8
    assert all("block5_conv" in path for path in paths)


def test_standardized_features_have_mean_0_and_at_most_deviation_1() -> None:
    network = paper_network(2, Architecture(size=(64, 64), frames=3, units=8, dense=(8,), width=0.05))
    windows = np.random.default_rng(0).integers(0, 256, (6, 3, 64, 64, 3), dtype=np.uint8)
    values = FrozenBackbone(network.get_layer("backbone").layer, "none")(windows)
    chosen = [Example(value, 0, Clip(Path("a"), "", "")) for value in values]
    features, _ = trained_part(network, "none")
    standardization = Standardization.of(features, chosen)

    scaled = (features.predict_on_batch(batch_input(chosen)) - standardization.mean) / standardization.deviation

    assert scaled.mean(axis=(0, 1)) == pytest.approx(np.zeros(scaled.shape[-1]), abs=1e-3)
    assert scaled.std(axis=(0, 1)).max() <= 1
