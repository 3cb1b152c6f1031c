"""Explanations, against what can be computed by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tiny_bundle
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from tiny_bundle import CLASSES, MAP, SIZE, WEIGHTS, Expected, T

import whycam
from whycam import BundleError, Detector, InputError, overlay
from whycam.detect import Snapshot
from whycam.explain import METHOD, METHODS, TIME, TIME_METHODS
from whycam.explain.cams import Maps, grad_cam_plus_plus, resized, xgrad_cam
from whycam.explain.inquiry import Inquiry

Frames = NDArray[np.uint8]


@pytest.fixture
def frames() -> Frames:
    """Noise, reddish in its second and last frame."""
    frames = np.random.default_rng(11).integers(0, 256, (T, SIZE, SIZE, 3), dtype=np.uint8)
    frames[[1, 3], ..., :2] //= 3
    return frames


@pytest.fixture
def detector(built_bundle: Path, frames: Frames) -> Detector:
    """A detector with a full window."""
    detector = whycam.load(built_bundle)
    for frame in frames:
        detector.push(frame)
    return detector


def target(label: str, versus: str | None) -> NDArray[np.float32]:
    weights = np.zeros(len(CLASSES), dtype=np.float32)
    weights[CLASSES.index(label)] = 1
    if versus:
        weights[CLASSES.index(versus)] = -1
    return weights


def expected_maps(frames: Frames, method: str, label: str, versus: str | None) -> NDArray[np.float32]:
    """What the paper's equation gives, on arrays of numpy."""
    expected, weights = Expected(frames), target(label, versus)
    maps, gradient = expected.maps, expected.map_gradient(weights)
    pixels = expected.pixel_gradient(weights)
    if method == "grad-cam++":
        alpha = gradient**2 / (2 * gradient**2 + maps.sum(axis=(2, 3), keepdims=True) * gradient**3)
        weighed = (alpha * np.maximum(gradient, 0)).sum(axis=(2, 3), keepdims=True) * maps
    elif method == "xgrad-cam":
        share = (gradient * maps).sum(axis=(2, 3), keepdims=True) / maps.sum(axis=(2, 3), keepdims=True)
        weighed = share * maps
    elif method in ("grad-cam", "hirescam", "layercam"):
        weighed = {
            "grad-cam": gradient.mean(axis=(2, 3), keepdims=True) * maps,
            "hirescam": gradient * maps,
            "layercam": np.maximum(gradient, 0) * maps,
        }[method]
    elif method == "eigen-cam":
        flat = maps.reshape(T, maps.shape[1], -1)
        first = [np.linalg.svd(frame.T, full_matrices=False)[2][0] for frame in flat]
        weighed = np.abs(np.stack([frame.T @ vector for frame, vector in zip(flat, first, strict=True)]))
        weighed = weighed.reshape(T, 1, MAP, MAP)
    elif method == "activation":
        weighed = maps.mean(axis=1, keepdims=True)
    elif method == "excitation":
        weighed = expected.map_excitation(expected.feature_excitation(weights))
    elif method == "contrastive-excitation":
        both = expected.feature_excitation(weights) - expected.feature_excitation(-weights)
        weighed = expected.map_excitation(both)
    else:
        fine = {
            "saliency": np.abs(pixels).max(axis=3),
            "gradient-x-input": (pixels * frames).sum(axis=3),
            "guided-backprop": np.maximum(pixels, 0).max(axis=3),
        }[method]
        weighed = fine[:, np.newaxis]
    return np.maximum(weighed.sum(axis=1), 0)


EXACT = (
    "grad-cam", "grad-cam++", "hirescam", "layercam", "xgrad-cam", "eigen-cam", "activation", "saliency",
    "gradient-x-input", "guided-backprop", "excitation", "contrastive-excitation",
)  # fmt: skip


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize(("label", "versus"), [("fire", None), ("fire", "normal"), ("normal", "fight")])
def test_heat_maps_follow_the_papers_equations(
    detector: Detector, frames: Frames, method: str, label: str, versus: str | None
) -> None:
    explanation = detector.explain(method, label, versus)

    expected = expected_maps(frames, method, label, versus)
    np.testing.assert_allclose(explanation.heatmaps, expected, rtol=1e-4, atol=1e-6 * max(expected.max(), 1))
    assert explanation.heatmaps.dtype == np.float32
    assert (explanation.label, explanation.method, explanation.versus) == (label, method, versus)


@pytest.mark.parametrize(
    ("cam", "differences"), [(grad_cam_plus_plus, [3, -3, 0.0001, -4]), (xgrad_cam, [3, -3, 0.0001, 0])]
)
def test_maps_less_the_usual_ones_meet_no_pole(cam: Callable[[Maps, Maps], Maps], differences: list[float]) -> None:
    """Their sum may be such that the paper's equation divides by next to nothing: that channel would drown all."""
    maps = np.array(differences, np.float32).reshape(1, 1, 1, 4)
    gradient = np.array([0.5, 0.4, 0.5, 0.5], np.float32).reshape(1, 1, 1, 4)

    assert cam(maps, gradient).max() <= gradient.sum() * maps.max()


def test_a_faint_gradient_is_a_gradient() -> None:
    random = np.random.default_rng(2)
    maps, gradient = random.random((2, 3, 4, 4), np.float32), random.normal(size=(2, 3, 4, 4)).astype(np.float32)

    faint, fainter = (grad_cam_plus_plus(maps, np.float32(scale) * gradient) for scale in (1e-9, 1e-12))

    assert fainter.max() > 0
    np.testing.assert_allclose(faint, 1000 * fainter, rtol=1e-4)


def test_guided_grad_cam_is_one_times_the_other(detector: Detector) -> None:
    made = {
        name: detector.explain(name, "fire").heatmaps for name in ("grad-cam", "guided-backprop", "guided-grad-cam")
    }

    coarse = resized(made["grad-cam"], SIZE, SIZE)
    np.testing.assert_allclose(made["guided-grad-cam"], coarse * made["guided-backprop"], rtol=1e-5)


def test_integrated_gradients_add_up_to_what_sets_the_window_apart_from_black(
    detector: Detector, frames: Frames
) -> None:
    """Completeness (Sundararajan 2017, proposition 1); the negative parts are the counter-evidence."""
    sides = [
        detector.explain("integrated-gradients", "fire", "normal", counter=counter).heatmaps.sum()
        for counter in (False, True)
    ]

    whole = Expected(frames).logit(Expected(frames).features, target("fire", "normal"))
    assert sides[0] - sides[1] == pytest.approx(whole, rel=0.01)


def test_smoothgrad_is_saliency_of_a_mean_over_noise(detector: Detector) -> None:
    """The gradient of this network is linear in the frame, so noise averages out but for what clipping adds."""
    plain, smooth = (detector.explain(name, "fire").heatmaps for name in ("saliency", "smoothgrad"))

    assert np.corrcoef(plain.ravel(), smooth.ravel())[0, 1] > 0.9
    np.testing.assert_array_equal(smooth, detector.explain("smoothgrad", "fire").heatmaps)


def test_occlusion_is_how_far_the_logit_falls(detector: Detector, frames: Frames) -> None:
    heatmaps = detector.explain("occlusion", "fire").heatmaps

    # One cell of 4 x 4 hidden at a time: features are means of squares, logits linear in features.
    expected = Expected(frames)
    drop = (expected.maps**2 / MAP**2 * expected.feature_gradient(target("fire", None))[:, :, None, None]).sum(axis=1)
    np.testing.assert_allclose(heatmaps, np.maximum(drop, 0), atol=1e-5)


def test_rise_points_at_the_only_thing_that_is_there(built_bundle: Path) -> None:
    detector = whycam.load(built_bundle)
    frame = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    frame[:2, -2:, 2] = 255
    for _ in range(T):
        detector.push(frame)

    heatmaps = detector.explain("rise", "fire").heatmaps

    assert [np.unravel_index(heat.argmax(), heat.shape) for heat in heatmaps] == [(0, MAP - 1)] * T


def test_what_speaks_against_the_class_is_what_speaks_for_its_opposite(detector: Detector, frames: Frames) -> None:
    counter = detector.explain("hirescam", "fire", "normal", counter=True)

    np.testing.assert_allclose(counter.heatmaps, expected_maps(frames, "hirescam", "normal", "fire"), atol=1e-6)
    assert counter.counter


def test_maps_are_made_of_the_most_relevant_frames_alone_where_so_many_are_asked_for(detector: Detector) -> None:
    whole, few = (detector.explain("layercam", "fire", frames=frames) for frames in ("all", 2))

    most = sorted(np.argsort(-whole.relevance)[:2].tolist())
    assert list(few.explained) == most
    np.testing.assert_array_equal(few.relevance, whole.relevance)
    for index in range(T):
        wanted = whole.heatmaps[index] if index in most else np.zeros((MAP, MAP))
        np.testing.assert_allclose(few.heatmaps[index], wanted, atol=1e-7)


def test_frames_may_be_named(detector: Detector) -> None:
    assert detector.explain("layercam", "fire", frames=[-1, 0]).explained == (0, T - 1)


def test_methods_are_compared_on_one_question(detector: Detector) -> None:
    names = ["grad-cam", "saliency", "excitation"]

    made = detector.model.compare(detector.snapshot(), names, "fire", "normal")

    assert [one.method for one in made] == names
    for one in made:
        np.testing.assert_array_equal(one.heatmaps, detector.explain(one.method, "fire", "normal").heatmaps)


def test_leave_one_out_and_keep_one_are_exact(detector: Detector, frames: Frames) -> None:
    expected, weights = Expected(frames), target("fire", "normal")
    parts = []
    for index in range(T):
        without, alone = expected.features.copy(), np.zeros_like(expected.features)
        without[index] = 0
        alone[index] = expected.features[index]
        whole = expected.logit(expected.features, weights)
        parts.append((whole - expected.logit(without, weights), expected.logit(alone, weights)))
    for name, support in zip(("leave-one-out", "keep-one"), np.maximum(np.array(parts), 0).T, strict=True):
        shares = detector.explain("layercam", "fire", "normal", time=name).relevance
        np.testing.assert_allclose(shares, support / support.sum(), atol=1e-5)


def runs(bundle: Path, window: Snapshot, method: str, time: str, chosen: list[int]) -> list[tuple[str, int]]:
    """The graphs that a question runs, each with the size of its batch."""
    seen = []

    def run(name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        session = InferenceSession(bundle / f"{name}.onnx", providers=["CPUExecutionProvider"])
        seen.append((name, len(next(iter(inputs.values())))))
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))

    ask = Inquiry(run, window, target("fire", "normal"))
    TIME_METHODS[time].shares(ask)
    ask.chosen = tuple(chosen)
    METHODS[method].heatmaps(ask)
    return seen


@pytest.mark.parametrize(
    ("method", "time", "expected"),
    [
        ("activation", "relevance", [("head_vjp", T)]),
        ("activation", "leave-one-out", [("head", T + 1)]),
        ("activation", "keep-one", [("head", T + 1)]),
        ("grad-cam", "relevance", [("head_vjp", T), ("maps_vjp", 2)]),
        ("saliency", "relevance", [("head_vjp", T), ("pixels_vjp", 2)]),
        ("excitation", "keep-one", [("head", T + 1), ("head_excitation", T), ("maps_excitation", 2)]),
    ],
)
def test_when_costs_the_head_once_and_where_the_cnn_for_the_chosen_frames_alone(
    built_bundle: Path, detector: Detector, method: str, time: str, expected: list[tuple[str, int]]
) -> None:
    assert runs(built_bundle, detector.snapshot(), method, time, [1, 3]) == expected


def test_what_is_usual_can_be_the_reference(built_bundle: Path, frames: Frames) -> None:
    """Where the window shows what the camera always shows, nothing is left to explain."""
    detector = whycam.load(built_bundle)
    for _ in range(2 * T):
        detector.push(frames[1])
    quiet = detector.explain("grad-cam", "fire")
    detector.push(frames[3])
    lively = detector.explain("grad-cam", "fire")

    assert (quiet.reference, lively.reference) == ("usual", "usual")
    assert quiet.heatmaps.max() < 1e-6 < 1e-3 < lively.heatmaps[-1].max()
    assert lively.relevance[-1] == pytest.approx(1)
    plain = detector.explain("grad-cam", "fire", reference="none")
    assert plain.reference == "none"
    assert plain.heatmaps[0].max() > 1e-3


def test_methods_that_ask_for_no_reference_answer_the_same_with_one(built_bundle: Path, frames: Frames) -> None:
    detector = whycam.load(built_bundle)
    for frame in (*frames, *frames[::-1]):
        detector.push(frame)

    def answers(reference: Literal["usual", "none"]) -> dict[str, NDArray[np.float32]]:
        model = detector.model
        places = {name: detector.explain(name, "fire", reference=reference).heatmaps for name in model.methods}
        moments = {
            name: detector.explain(label="fire", time=name, reference=reference).relevance
            for name in model.time_methods
        }
        return places | moments

    usual, none = answers("usual"), answers("none")
    same = {name for name in usual if np.array_equal(usual[name], none[name])}
    ways = METHODS | TIME_METHODS
    assert same == {name for name in usual if not ways[name].of_reference}


def test_what_is_usual_is_known_when_a_whole_window_has_passed(detector: Detector, frames: Frames) -> None:
    for index in range(T):
        assert detector.explain().reference == "none"
        with pytest.raises(InputError, match="usual maps are not known yet"):
            detector.explain(reference="usual")
        detector.push(frames[index])

    usual = detector.snapshot().usual
    assert usual is not None
    np.testing.assert_allclose(usual.features, Expected(frames).features.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(usual.maps[0], Expected(frames).maps.mean(axis=0), rtol=1e-5)


def test_a_bundle_with_fewer_graphs_offers_fewer_methods(tmp_path: Path, frames: Frames) -> None:
    detector = whycam.load(tiny_bundle.build(tmp_path / "small.whycam", explain="cams"))
    for frame in frames:
        detector.push(frame)

    assert "grad-cam" in detector.model.methods
    assert "saliency" not in detector.model.methods
    with pytest.raises(InputError, match=r"method 'saliency' needs pixels_vjp.onnx, .* export it with --explain all"):
        detector.explain("saliency")
    with pytest.raises(InputError, match="train the model with --attention"):
        detector.explain("attention")


def test_every_method_says_what_it_is() -> None:
    for ways in (METHODS, TIME_METHODS):
        assert all(way.question and way.cost and way.paper for way in ways.values())
    assert METHOD in METHODS
    assert TIME in TIME_METHODS


def test_relevance_is_each_frames_share_of_gradient_times_features(detector: Detector, frames: Frames) -> None:
    expected = Expected(frames)
    support = np.maximum((expected.feature_gradient(target("fire", "normal")) * expected.features).sum(axis=1), 0)

    relevance = detector.explain("grad-cam", "fire", "normal", time="relevance").relevance

    np.testing.assert_allclose(relevance, support / support.sum(), atol=1e-6)
    assert relevance.sum() == pytest.approx(1)
    assert set(np.flatnonzero(relevance)) == {1, 3}


def test_relevance_is_zero_where_no_frame_speaks_for_the_class(built_bundle: Path) -> None:
    detector = whycam.load(built_bundle)
    for _ in range(T):
        detector.push(np.full((SIZE, SIZE, 3), (0, 255, 0), dtype=np.uint8))

    explanation = detector.explain("layercam", "fire")

    assert (WEIGHTS[CLASSES.index("fire")] @ [0, 1, 0]) < 0
    assert not explanation.relevance.any()
    assert not explanation.heatmaps.any()


def test_the_windows_frames_and_times_come_with_it(detector: Detector, frames: Frames) -> None:
    explanation = detector.explain()

    assert (explanation.frames == frames).all()
    assert explanation.times == pytest.approx([0, 0.1, 0.2, 0.3])


def test_the_class_decided_is_explained_by_default(built_bundle: Path) -> None:
    detector = whycam.load(built_bundle)
    decision = None
    for _ in range(T):
        decision = detector.push(np.full((SIZE, SIZE, 3), (255, 0, 0), dtype=np.uint8))

    assert decision is not None
    assert detector.explain().label == decision.label == "normal"


def test_an_explanation_changes_no_decision(built_bundle: Path, frames: Frames) -> None:
    asked, unasked = whycam.load(built_bundle), whycam.load(built_bundle)
    for frame in [*frames, *frames]:
        first, second = asked.push(frame), unasked.push(frame)
        assert first is not None
        if first.warm:
            asked.explain()
            assert first == second


@pytest.mark.parametrize("kind", ["built_bundle", "headed_bundle"])
def test_a_model_at_rest_explains_as_before(kind: str, frames: Frames, request: pytest.FixtureRequest) -> None:
    detector = whycam.load(request.getfixturevalue(kind))
    for frame in frames:
        detector.push(frame)
    before = detector.explain("grad-cam", "fight")
    detector.model.rest(idle_seconds=0)
    np.testing.assert_array_equal(detector.explain("grad-cam", "fight").heatmaps, before.heatmaps)
    detector.model.rest(idle_seconds=0)
    assert detector.push(frames[-1]) is not None


def test_what_was_just_asked_for_is_kept_open(bundle: Path, frames: Frames) -> None:
    detector = whycam.load(bundle)
    for frame in frames:
        detector.push(frame)
    detector.explain("grad-cam", "fight")
    detector.model.rest(idle_seconds=60)
    for graph in bundle.glob("*.onnx"):
        graph.unlink()
    detector.explain("grad-cam", "fight")
    detector.model.rest(idle_seconds=0)
    with pytest.raises(BundleError, match="missing from the bundle"):
        detector.explain("grad-cam", "fight")


def test_a_cold_window_cannot_be_explained(built_bundle: Path, frames: Frames) -> None:
    detector = whycam.load(built_bundle)
    detector.push(frames[0])

    with pytest.raises(InputError, match=r"no full window to explain yet \(1 of 4 frames\)"):
        detector.explain()


def test_after_a_gap_there_is_nothing_to_explain(built_bundle: Path, frames: Frames) -> None:
    detector = whycam.load(built_bundle)
    for index, frame in enumerate(frames):
        detector.push(frame, index / 10)
    detector.push(frames[0], 60.0)

    with pytest.raises(InputError, match="no full window"):
        detector.explain()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "magic"}, r"method 'magic': there are grad-cam, grad-cam\+\+, hirescam"),
        ({"time": "noon"}, "method in time 'noon': there are relevance, leave-one-out, keep-one"),
        ({"method": "activation", "counter": True}, "'activation' knows no class"),
        ({"time": "attention", "counter": True}, "method in time 'attention' knows no class"),
        ({"frames": 0}, "frames 0: give how many"),
        ({"frames": [7]}, "a window has the frames 0 to 3"),
        ({"label": "flood"}, "class 'flood': the model knows normal, fight, fire"),
        ({"versus": "flood"}, "class 'flood': the model knows normal, fight, fire"),
        ({"label": "fire", "versus": "fire"}, "class 'fire' cannot be explained against itself"),
    ],
)
def test_a_question_about_what_does_not_exist_names_what_does(
    detector: Detector, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        detector.explain(**arguments)


def test_an_overlay_keeps_the_picture_where_the_map_is_zero() -> None:
    frame = np.full((80, 120, 3), 90, dtype=np.uint8)
    heatmap = np.zeros((4, 6), dtype=np.float32)
    heatmap[0, 0] = 1

    picture = overlay(frame, heatmap)

    assert picture.shape == frame.shape
    assert picture.dtype == np.uint8
    assert (picture[50:, 80:] == 90).all()
    assert (picture[5, 5] != 90).any()


def test_an_overlay_glows_by_the_peak_that_it_is_given() -> None:
    frame = np.full((80, 120, 3), 90, dtype=np.uint8)
    heatmap = np.full((4, 6), 0.1, dtype=np.float32)

    def change(peak: float | None) -> float:
        return float(np.abs(overlay(frame, heatmap, peak).astype(float) - frame).mean())

    assert change(10) < change(0.5) < change(None)
    assert change(None) == change(0.1)


def test_an_overlay_of_nothing_is_the_picture() -> None:
    frame = np.full((8, 8, 3), 90, dtype=np.uint8)

    picture = overlay(frame, np.zeros((4, 4), dtype=np.float32))

    assert (picture == frame).all()
    assert picture is not frame


@pytest.mark.parametrize(
    ("heatmap", "peak", "message"),
    [
        (np.zeros((2, 4, 4), dtype=np.float32), None, r"array \[h, w\]"),
        (np.full((4, 4), np.nan, dtype=np.float32), None, "finite"),
        (np.ones((4, 4), dtype=np.float32), 0.0, "peak"),
    ],
)
def test_an_overlay_refuses_what_is_no_heat_map(heatmap: NDArray[np.float32], peak: float | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        overlay(np.zeros((8, 8, 3), dtype=np.uint8), heatmap, peak)
