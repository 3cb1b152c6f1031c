"""Bundles of many models, run by the runtime, against Keras and its GradientTape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import whycam
from tests.export.convert.models import FORMS, plain, saved, small_cnn
from whycam.bundle import Bundle
from whycam.detect import Model
from whycam.errors import WhycamError
from whycam.explain.cams import fuse
from whycam_export.convert import ExportOptions, export_bundle, parity
from whycam_export.errors import ModelError


def options(outputs: int, **more: Any) -> ExportOptions:
    names = ("normal", "fight", "fire")[:outputs]
    return ExportOptions(**{"classes": names, "normal": "normal", "frame_interval": 0.1, "preprocess": "none", **more})


def taped_cam(model: keras.Model, images: np.ndarray, cam_layer: str, label: int, classes: int) -> np.ndarray:
    """Grad-CAM of a logit by GradientTape through the model's own layers, frame by frame through the CNN: [T,h,w]."""
    seen: dict[str, tf.Tensor] = {}

    def per_frame(layer: keras.Layer, x: tf.Tensor) -> tf.Tensor:
        if isinstance(layer, keras.Model):
            for inner in layer.layers[1:]:
                x = per_frame(inner, x)
            return x
        y = layer(x)
        seen[layer.name] = y
        if layer.name == cam_layer:
            tape.watch(y)
        return y

    with tf.GradientTape() as tape:
        x, frames = tf.constant(images), True
        for layer in model.layers:
            if isinstance(layer, layers.InputLayer):
                continue
            if isinstance(layer, layers.TimeDistributed):
                x = per_frame(layer.layer, x)
                continue
            if frames and not isinstance(layer, layers.Rescaling):
                frames = False
                x = x[None]
            if layer is model.layers[-1]:
                if isinstance(layer, layers.Dense):
                    x = tf.matmul(x, layer.kernel) + layer.bias
                break
            x = layer(x)
        value = x[0, label] if classes == x.shape[-1] else x[0, 0] * (1 if label else -1)
    maps = seen[cam_layer]
    gradient = tape.gradient(value, maps)
    weights = tf.reduce_mean(gradient, axis=(1, 2))
    return np.maximum(tf.einsum("tc,thwc->thw", weights, maps).numpy(), 0)


@pytest.mark.parametrize(
    ("form", "classes", "cam_layer"),
    [
        ("plain", 3, "last_conv"),
        ("plain", 3, "first_conv"),
        ("two stacked GRUs", 3, "last_conv"),
        ("two stacked GRUs", 3, "first_conv"),
        ("bidirectional LSTM", 2, "last_conv"),
        ("chain of TimeDistributed layers", 3, "inner_conv"),
    ],
)
def test_detector_and_explanation_agree_with_keras(form: str, classes: int, cam_layer: str, tmp_path: Path) -> None:
    model = saved(FORMS[form], str(tmp_path / "model.keras"))
    frames = 4 if model.input_shape[1] is None else None
    bundle = tmp_path / "model.whycam"
    export_bundle(tmp_path / "model.keras", bundle, options(classes, cam_layers=(cam_layer,), frames=frames))
    detector = whycam.load(bundle)
    window = detector.manifest.window.frames
    size = detector.manifest.input
    video = np.random.default_rng(1).integers(0, 256, (window + 3, size.height, size.width, 3), dtype=np.uint8)
    decisions = [detector.push(frame) for frame in video]

    images = video[-window:, :, :, ::-1].astype(np.float32)
    expected = model(images[None]).numpy()[0]
    if classes == 2:
        expected = np.array([1 - expected[0], expected[0]])
    elif form == "two stacked GRUs":
        expected = tf.nn.softmax(expected).numpy()
    decision = decisions[-1]
    assert decision is not None and decision.warm
    np.testing.assert_allclose(list(decision.scores.values()), expected, atol=1e-4)
    for label, name in enumerate(detector.manifest.classes):
        heatmaps = detector.explain("grad-cam", label=name).heatmaps
        wanted = taped_cam(model, images, cam_layer, label, classes)
        np.testing.assert_allclose(heatmaps, wanted, atol=1e-3 * max(wanted.max(), parity.FAINTEST))

    # Held for longer than a window, then moving again: at each sample what the head says of the whole window.
    for index in range(3 * window):
        decision = detector.push(video[index % window], still=index < 2 * window)
        assert decision is not None
        _, scores = detector.model.logits(detector.snapshot().features()[np.newaxis])
        np.testing.assert_allclose(list(decision.scores.values()), scores[0], atol=1e-6)


def test_another_backbone_is_preprocessed_in_its_own_way_and_explained_exactly(tmp_path: Path) -> None:
    saved(FORMS["average-pooled MobileNetV2"], str(tmp_path / "mobile.keras"))
    manifest = export_bundle(tmp_path / "mobile.keras", tmp_path / "mobile.whycam", options(2, preprocess="auto"))
    assert manifest.provenance["preprocess"] == "tf"
    assert [cam.name for cam in manifest.cams] == ["block_6_expand"]
    assert manifest.step.available
    parity.check(manifest.parity)


def test_maps_of_a_layer_with_a_way_around_it_are_taken_where_the_ways_meet(tmp_path: Path) -> None:
    def residual() -> keras.Model:
        image = keras.Input((16, 16, 3))
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name="stem")(image)
        y = layers.Conv2D(4, 3, padding="same", name="branch")(x)
        joined = layers.Add(name="joined")([x, y])
        cnn = keras.Model(image, layers.GlobalAveragePooling2D()(joined))
        return keras.Sequential(
            [keras.Input((3, 16, 16, 3)), layers.TimeDistributed(cnn), layers.GRU(3), layers.Dense(2)]
        )

    saved(residual, str(tmp_path / "m.keras"))
    manifest = export_bundle(tmp_path / "m.keras", tmp_path / "m.whycam", options(2))
    assert [cam.name for cam in manifest.cams] == ["joined"]
    with pytest.raises(ModelError, match=r"--cam-layer branch: .* the next layer that all pass is joined"):
        export_bundle(tmp_path / "m.keras", tmp_path / "n.whycam", options(2, cam_layers=("branch",)))


def test_every_method_runs_from_a_bundle_and_saliency_agrees_with_keras(tmp_path: Path) -> None:
    model = saved(FORMS["plain"], str(tmp_path / "m.keras"))
    manifest = export_bundle(tmp_path / "m.keras", tmp_path / "m.whycam", options(3))
    runner = Model(Bundle.open(tmp_path / "m.whycam"))
    size, window = manifest.input, manifest.window.frames
    frames = np.random.default_rng(2).integers(0, 256, (window, size.height, size.width, 3), dtype=np.uint8)
    snapshot = runner.snapshot(frames)

    for made in runner.compare(snapshot, runner.methods, "fire", "normal"):
        assert made.heatmaps.shape[0] == window
        assert np.isfinite(made.heatmaps).all()
        assert made.heatmaps.min() >= 0

    images = tf.convert_to_tensor(frames[..., ::-1].astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(images)
        logit = logits_of(model, images)[2]
    wanted = np.abs(tape.gradient(logit, images).numpy()).max(axis=3)
    found = runner.explain(snapshot, "saliency", "fire").heatmaps
    np.testing.assert_allclose(found, wanted, atol=1e-4 * wanted.max())


def logits_of(model: keras.Model, images: tf.Tensor) -> tf.Tensor:
    """Logits of a model that ends in a softmax."""
    last = model.layers[-1]
    below = keras.Model(model.inputs, last.input)(images[None], training=False)
    return (tf.matmul(below, last.kernel) + last.bias)[0]


def test_maps_of_several_layers_are_exported_and_explained_together(tmp_path: Path) -> None:
    saved(FORMS["plain"], str(tmp_path / "m.keras"))
    names = ("last_conv", "first_conv")
    manifest = export_bundle(tmp_path / "m.keras", tmp_path / "m.whycam", options(3, cam_layers=names))
    assert [cam.name for cam in manifest.cams] == ["first_conv", "last_conv"]
    runner = Model(Bundle.open(tmp_path / "m.whycam"))
    size, window = manifest.input, manifest.window.frames
    frames = np.random.default_rng(2).integers(0, 256, (window, size.height, size.width, 3), dtype=np.uint8)
    heatmaps = runner.explain(runner.snapshot(frames), "layercam", "fire").heatmaps
    assert heatmaps.shape == (window, manifest.cams[0].height, manifest.cams[0].width)

    single = []
    for name in ("first_conv", "last_conv"):
        export_bundle(tmp_path / "m.keras", tmp_path / f"{name}.whycam", options(3, cam_layers=(name,), explain="cams"))
        one = Model(Bundle.open(tmp_path / f"{name}.whycam"))
        single.append(one.explain(one.snapshot(frames), "layercam", "fire").heatmaps)
    np.testing.assert_allclose(heatmaps, fuse(single), atol=1e-4)


@pytest.mark.parametrize(
    ("explain", "there", "missing"),
    [("cams", {"head_vjp.onnx", "maps_vjp.onnx"}, "pixels_vjp.onnx"), ("none", {"head.onnx"}, "head_vjp.onnx")],
)
def test_a_bundle_has_the_graphs_that_were_asked_for(
    explain: str, there: set[str], missing: str, tmp_path: Path
) -> None:
    saved(FORMS["plain"], str(tmp_path / "m.keras"))
    manifest = export_bundle(tmp_path / "m.keras", tmp_path / "m.whycam", options(3, explain=explain))
    assert there <= set(manifest.files)
    assert missing not in manifest.files
    assert manifest.parity.pixels is None
    runner = Model(Bundle.open(tmp_path / "m.whycam"))
    assert {"activation", "eigen-cam"} <= set(runner.methods)
    assert "leave-one-out" in runner.time_methods


def test_a_bidirectional_head_says_why_it_has_no_step(tmp_path: Path) -> None:
    model = saved(FORMS["bidirectional LSTM"], str(tmp_path / "m.keras"))
    manifest = export_bundle(tmp_path / "m.keras", tmp_path / "m.whycam", options(2))
    assert not manifest.step.available
    assert manifest.step.reason == f"layer '{model.layers[2].name}' reads the window backwards too"
    assert "step.onnx" not in manifest.files
    assert manifest.parity.step is None


def test_golden_values_are_kerass(tmp_path: Path) -> None:
    model = saved(plain, str(tmp_path / "m.keras"))
    export_bundle(tmp_path / "m.keras", tmp_path / "m.whycam", options(3, preprocess="caffe"))
    golden = np.load(tmp_path / "m.whycam" / "golden.npz")
    images = golden["frames"].astype(np.float32) - np.array([103.939, 116.779, 123.68], np.float32)
    np.testing.assert_allclose(golden["scores"], model(images[None]).numpy()[0], atol=1e-5)
    assert str(golden["label"]) == ("normal", "fight", "fire")[int(golden["scores"].argmax())]


def test_what_training_left_beside_the_model_is_read(tmp_path: Path) -> None:
    saved(plain, str(tmp_path / "fight.keras"))
    left = {"schema": "whycam.training/1", "classes": ["x", "y", "z"], "normal": "y", "frame_interval": 0.2}
    (tmp_path / "fight.json").write_text(json.dumps({**left, "preprocess": "caffe", "seed": 1}))
    manifest = export_bundle(tmp_path / "fight.keras", tmp_path / "fight.whycam")
    assert (manifest.classes, manifest.normal, manifest.window.frame_interval) == (("x", "y", "z"), "y", 0.2)
    assert manifest.anomalies == ("x", "z")


def test_a_bundle_is_replaced_and_anything_else_is_not(tmp_path: Path) -> None:
    saved(plain, str(tmp_path / "m.keras"))
    first = export_bundle(tmp_path / "m.keras", tmp_path / "m.whycam", options(3))
    second = export_bundle(tmp_path / "m.keras", tmp_path / "m.whycam", options(3, version="2"))
    assert (first.version, second.version) == ("1", "2")
    assert whycam.load(tmp_path / "m.whycam").manifest.version == "2"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    with pytest.raises(ModelError, match="photos: is a directory but no bundle"):
        export_bundle(tmp_path / "m.keras", tmp_path / "photos", options(3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.keras", "m.whycam", "photos"]


def test_weights_that_are_not_finite_are_noticed_and_nothing_is_written(tmp_path: Path) -> None:
    model = plain()
    model.set_weights([w * np.nan for w in model.get_weights()])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match="disagree with Keras"):
        export_bundle(tmp_path / "m.keras", tmp_path / "m.whycam", options(3))
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]


def branched() -> keras.Model:
    frames = keras.Input((5, 32, 32, 3))
    x = layers.TimeDistributed(small_cnn())(frames)
    x = layers.TimeDistributed(layers.Flatten())(x)
    both = layers.Concatenate(name="both")([layers.GRU(3, name="a")(x), layers.LSTM(3, name="b")(x)])
    return keras.Model(frames, layers.Dense(2)(both))


def spatial_temporal() -> keras.Model:
    return keras.Sequential(
        [keras.Input((5, 32, 32, 3)), layers.Conv3D(4, 3, name="volume"), layers.Flatten(), layers.Dense(2)]
    )


def no_vector() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((5, 32, 32, 3)),
            layers.TimeDistributed(small_cnn()),
            layers.ConvLSTM2D(3, 3, name="conv_lstm"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )


def no_convolution() -> keras.Model:
    return keras.Sequential(
        [keras.Input((5, 8, 8, 3)), layers.TimeDistributed(layers.Flatten()), layers.GRU(3), layers.Dense(2)]
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (branched, "leaves the single line of layers"),
        (spatial_temporal, "layer 'volume' (Conv3D): no TimeDistributed layer"),
        (no_vector, "the per-frame network ends in shape (8, 8, 8), not in a vector"),
        (no_convolution, "no convolution to explain by"),
        (lambda: keras.Sequential([keras.Input((8,)), layers.Dense(2)]), "its input is (None, 8)"),
    ],
)
def test_a_model_of_another_form_is_refused_by_name(make: Any, message: str, tmp_path: Path) -> None:
    make().save(tmp_path / "m.keras")
    with pytest.raises(ModelError) as caught:
        export_bundle(tmp_path / "m.keras", tmp_path / "m.whycam", options(2))
    assert message in str(caught.value)
    assert not (tmp_path / "m.whycam").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"classes": None, "normal": None}, "say --classes, --normal"),
        ({"normal": None}, "say --normal"),
        ({"frame_interval": None}, "say --frame-interval"),
        ({"classes": ("a", "normal")}, "2 are named (a, normal), but the model ends in 3 outputs"),
        ({"classes": ("a", "a", "normal")}, "must be distinct"),
        ({"normal": "calm"}, "--normal calm: not among the classes"),
        ({"frame_interval": -1.0}, "must be seconds between frames"),
        ({"preprocess": "vgg"}, "--preprocess vgg: unknown; there are auto, caffe, torch, tf, none"),
        ({"preprocess": "auto"}, "cannot tell how the model's frames were preprocessed"),
        (
            {"cam_layers": ("conv9",)},
            "--cam-layer conv9: no such layer with maps; the convolutions are first_conv, last_conv",
        ),
        ({"frames": 7}, "its windows have 5 frames, not 7"),
        ({"sample": Path("nowhere.mp4")}, "nowhere.mp4"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    saved(plain, str(tmp_path / "m.keras"))
    with pytest.raises(WhycamError) as caught:
        export_bundle(tmp_path / "m.keras", tmp_path / "m.whycam", options(3, **given))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_a_file_that_is_no_model_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "m.keras").write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.keras: (Keras cannot read it|no such file)"):
        export_bundle(tmp_path / "m.keras", tmp_path / "m.whycam", options(3))


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelError, match=r"m\.whycam: cannot be written"):
        export_bundle(tmp_path / "no-model-either.keras", tmp_path / "file" / "m.whycam", options(3))
