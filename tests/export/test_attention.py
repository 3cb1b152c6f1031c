"""Attention pooling: what it computes, and that a bundle computes and explains the same."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import whycam
from tests.export.convert.models import saved, small_cnn
from whycam.bundle import Bundle
from whycam.detect import Model
from whycam_export.attention import SpatialAttention, TemporalAttention
from whycam_export.convert import ExportOptions, export_bundle
from whycam_export.training.network import Architecture, paper_network

RNG = np.random.default_rng(5)


def with_attention() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((5, 32, 32, 3)),
            layers.TimeDistributed(small_cnn()),
            layers.TimeDistributed(SpatialAttention(7)),
            layers.GRU(6, return_sequences=True),
            TemporalAttention(4),
            layers.Dense(4, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )


def test_it_is_a_mean_weighed_by_a_softmax_of_scores() -> None:
    layer = TemporalAttention(4)
    states = RNG.normal(size=(2, 5, 6)).astype(np.float32)
    layer(states)
    kernel, bias, query = (RNG.normal(size=weight.shape).astype(np.float32) for weight in layer.get_weights())
    layer.set_weights([kernel, bias, query])

    scores = (np.tanh(states @ kernel + bias) @ query)[..., 0]
    weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(layer.weights_of(states), weights, atol=1e-6)
    np.testing.assert_allclose(layer(states), np.einsum("nt,ntu->nu", weights, states), atol=1e-5)


def test_the_weights_of_places_lie_where_the_places_are() -> None:
    layer = SpatialAttention(3)
    maps = np.zeros((1, 4, 5, 2), np.float32)
    maps[0, 1, 3] = 9
    layer(maps)
    layer.set_weights([np.ones((2, 3), np.float32), np.zeros(3, np.float32), np.full((3, 1), 2, np.float32)])

    attended = np.asarray(layer.attend(maps))[0]
    assert attended.sum() == pytest.approx(1)
    assert np.unravel_index(attended.argmax(), attended.shape) == (1, 3)


def test_training_starts_near_the_plain_mean() -> None:
    layer = SpatialAttention(32)
    maps = np.abs(RNG.normal(size=(1, 7, 7, 16))).astype(np.float32)
    assert np.asarray(layer(maps)) == pytest.approx(maps.mean(axis=(1, 2)), abs=0.1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path]:
    folder = tmp_path_factory.mktemp("attention")
    model = saved(with_attention, str(folder / "m.keras"))
    options = ExportOptions(classes=("normal", "fight", "fire"), normal="normal", frame_interval=0.1, preprocess="none")
    export_bundle(folder / "m.keras", folder / "m.whycam", options)
    return model, folder / "m.whycam"


def test_a_bundle_has_the_weights_as_graphs_proven_against_keras(exported: tuple[keras.Model, Path]) -> None:
    manifest = Bundle.open(exported[1]).manifest
    assert {"maps_attention.onnx", "head_attention.onnx", "step.onnx"} <= set(manifest.files)
    assert manifest.parity.attention is not None and manifest.parity.attention < 1e-5
    assert manifest.parity.step is not None and manifest.parity.step < 1e-5


def test_the_sliding_window_scores_as_keras_does(exported: tuple[keras.Model, Path]) -> None:
    model, bundle = exported
    detector = whycam.load(bundle)
    video = RNG.integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    decisions = [detector.push(frame) for frame in video]
    for end in range(5, 10):
        expected = model(video[None, end - 5 : end, :, :, ::-1].astype(np.float32)).numpy()[0]
        decision = decisions[end - 1]
        assert decision is not None
        np.testing.assert_allclose(list(decision.scores.values()), expected, atol=1e-5)


def test_its_weights_explain(exported: tuple[keras.Model, Path]) -> None:
    runner = Model(Bundle.open(exported[1]))
    window = runner.snapshot(RNG.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8))
    made = runner.explain(window, "attention", time="attention")
    assert made.heatmaps.shape == (5, 8, 8)
    np.testing.assert_allclose(made.heatmaps.sum(axis=(1, 2)), made.relevance, atol=1e-6)
    assert made.relevance.sum() == pytest.approx(1)
    few = runner.explain(window, "attention", time="attention", frames=2)
    np.testing.assert_allclose(few.heatmaps[list(few.explained)], made.heatmaps[list(few.explained)])
    # The other methods go through it: mass is neither made nor lost on the way to the maps.
    excitation = runner.explain(window, "excitation", "fire")
    assert excitation.heatmaps.sum() == pytest.approx(1, abs=1e-3)


def test_scores_that_would_overflow_the_running_sums_re_run_the_window(tmp_path: Path) -> None:
    def steep() -> keras.Model:
        model = with_attention()
        kernel, bias, query = model.layers[3].get_weights()
        model.layers[3].set_weights([kernel, bias, np.full_like(query, 11)])
        return model

    steep().save(tmp_path / "m.keras")
    options = ExportOptions(
        classes=("normal", "fight", "fire"), normal="normal", frame_interval=0.1, preprocess="none", explain="none"
    )
    manifest = export_bundle(tmp_path / "m.keras", tmp_path / "m.whycam", options)
    assert not manifest.step.available
    assert "span too wide" in (manifest.step.reason or "")


def test_the_papers_network_may_have_it() -> None:
    shape = Architecture(size=(64, 64), frames=3, units=4, dense=(5,), width=0.05, attention=True)
    network = paper_network(2, shape)
    assert network.output_shape == (None, 2)
    assert isinstance(network.get_layer("pooling").layer, SpatialAttention)
    assert isinstance(network.get_layer("attention"), TemporalAttention)
