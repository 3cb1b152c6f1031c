"""Whether heat maps depend on what was learnt: the verdict, and the networks that have forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.export.convert import models
from tests.runtime import tiny_bundle
from whycam.bundle import Bundle
from whycam.detect.model import Model
from whycam.errors import InputError
from whycam_export.evaluation.cases import Case
from whycam_export.evaluation.figures import Figure
from whycam_export.evaluation.network import Network
from whycam_export.evaluation.result import Row, Similarity
from whycam_export.evaluation.sanity import LIMIT, check_rows, judged

ROW = Row("grad-cam", "method", "normal", "none", {})


def similarity(stage: str, correlation: float) -> Similarity:
    return Similarity(stage, Figure(correlation, 10), Figure(0.2, 10))


def test_a_method_passes_where_its_maps_fall_apart_with_the_weights() -> None:
    row = judged(ROW, [similarity("scores", 0.9), similarity("all", LIMIT - 0.01)])
    assert row.verdict == "passes"
    assert row.note is None
    assert row.figures["correlation_all"].value == LIMIT - 0.01


def test_a_method_fails_where_its_maps_stay_as_they_are() -> None:
    assert judged(ROW, [similarity("scores", 1), similarity("all", LIMIT)]).verdict == "fails"


def test_a_method_that_the_head_does_not_touch_is_told_so_and_may_pass_all_the_same() -> None:
    row = judged(ROW, [similarity("scores", 1), similarity("head", 1), similarity("all", 0.1)])
    assert (row.verdict, row.note) == ("passes", "does not depend on the head")


def test_what_stays_as_it_is_while_upper_layers_are_shuffled_is_told_although_it_passes() -> None:
    row = judged(ROW, [similarity("head", 0.97), similarity("CNN to block4_conv1", 0.8), similarity("all", 0.1)])
    assert (row.verdict, row.note) == (
        "passes",
        "hardly depends on the head, 0.80 with the CNN to block4_conv1 shuffled",
    )


def test_baselines_are_not_judged() -> None:
    baseline = Row("random", "baseline", None, "none", {})
    assert judged(baseline, [similarity("all", 1)]) is baseline


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle.build(tmp_path_factory.mktemp("bundle") / "colours.whycam")


def case_of(network: Network) -> Case:
    manifest = network.model.manifest
    shape = (manifest.window.frames, manifest.input.height, manifest.input.width, 3)
    images = np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)
    times = np.arange(len(images)) * manifest.window.frame_interval
    return Case("noise", manifest.classes[1], images, times, network.features(images), None, None, images[:0])


def test_the_maps_of_an_unchanged_network_are_the_same_and_those_of_a_changed_one_are_not(
    colours: Path, tmp_path: Path
) -> None:
    """The changed one takes green for what speaks against a fight, and red for what speaks for it."""
    changed = tiny_bundle.build(tmp_path / "changed.whycam")
    for name in ("head.onnx", "head_vjp.onnx", "step.onnx"):
        graph = onnx.load(changed / name)
        for tensor in graph.graph.initializer:
            if tensor.name in ("weights", "backwards"):
                turned = numpy_helper.to_array(tensor)[::-1, ::-1].copy()
                tensor.CopyFrom(numpy_helper.from_array(turned, tensor.name))
        onnx.save(graph, changed / name)
    tiny_bundle.seal(changed)
    network = Network(Model(Bundle.open(colours)))
    bundles = [("same", Bundle.open(colours)), ("all", Bundle.open(changed))]
    heard: list[int] = []
    rows = check_rows([ROW], [case_of(network)], network, bundles, 2, lambda text, done, total: heard.append(done))
    same, other = rows[0].sanity
    assert (same.stage, same.correlation.value, same.structure.value) == ("same", 1, pytest.approx(1))
    assert same.structure.n == tiny_bundle.T
    assert other.correlation.value < 0.5
    assert heard == [0, 1, 2]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    from whycam_export.convert import ExportOptions, export_bundle

    folder = tmp_path_factory.mktemp("plain")
    model = folder / "plain.keras"
    models.saved(models.plain, str(model))
    options = ExportOptions(classes=("normal", "fight", "fire"), normal="normal", frame_interval=0.1, preprocess="tf")
    export_bundle(model, folder / "plain.whycam", options)
    return model, Bundle.open(folder / "plain.whycam")


def features_and_logits(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    network = Network(Model(bundle))
    features = case_of(network).features
    return features, network.scores(np.ones((1, *features.shape), np.float32))


def test_layers_are_shuffled_from_the_scores_down_each_stage_on_top_of_the_one_before(
    exported: tuple[Path, Bundle],
) -> None:
    from whycam_export.evaluation.shuffling import shuffled_bundles

    model, bundle = exported
    before = model.read_bytes()
    features, scores = features_and_logits(bundle)
    names, features_changed, scores_seen = [], [], [scores]
    stages: Iterator[tuple[str, Bundle]] = shuffled_bundles(model, bundle.manifest, seed=1)
    for name, shuffled in stages:
        names.append(name)
        new_features, new_scores = features_and_logits(shuffled)
        features_changed.append(not np.allclose(features, new_features))
        scores_seen.append(new_scores)
    assert names == ["scores", "head", "CNN to last_conv", "all"]
    assert features_changed == [False, False, True, True]
    assert not np.allclose(scores_seen[0], scores_seen[1])
    assert not np.allclose(scores_seen[1], scores_seen[2])
    assert model.read_bytes() == before


def test_shuffling_keeps_what_a_layer_weighs_and_only_mixes_it_up() -> None:
    import keras

    from whycam_export.evaluation.shuffling import shuffle

    layer = keras.layers.Dense(5)
    layer.build((None, 7))
    kernel = layer.get_weights()[0]
    shuffle(layer, np.random.default_rng(0))
    assert not np.array_equal(kernel, layer.get_weights()[0])
    assert np.array_equal(np.sort(kernel.ravel()), np.sort(layer.get_weights()[0].ravel()))


def test_a_model_that_the_bundle_was_not_exported_from_is_refused(
    exported: tuple[Path, Bundle], tmp_path: Path
) -> None:
    from whycam_export.evaluation.rewriting import check_origin

    _, bundle = exported
    other = tmp_path / "other.keras"
    other.write_bytes(b"another")
    with pytest.raises(InputError, match=r"'plain' was not exported from it, but from plain\.keras"):
        check_origin(other, bundle.manifest)
    with pytest.raises(InputError, match="no such file"):
        check_origin(tmp_path / "missing.keras", bundle.manifest)
