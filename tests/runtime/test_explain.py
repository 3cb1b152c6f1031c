"""Explanations, against what can be computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_bundle import CLASSES, MAP, SIZE, WEIGHTS, Expected, T

import whycam
from whycam import Detector, InputError, overlay
from whycam.explain import METHODS

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
    maps, gradient = Expected(frames).maps, Expected(frames).map_gradient(target(label, versus))
    weighed = {
        "grad-cam": gradient.mean(axis=(2, 3), keepdims=True) * maps,
        "hirescam": gradient * maps,
        "layercam": np.maximum(gradient, 0) * maps,
    }[method]
    return np.maximum(weighed.sum(axis=1), 0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("label", "versus"), [("fire", None), ("fire", "normal"), ("normal", "fight")])
def test_heat_maps_follow_the_papers_equations(
    detector: Detector, frames: Frames, method: str, label: str, versus: str | None
) -> None:
    explanation = detector.explain(method, label, versus)

    np.testing.assert_allclose(explanation.heatmaps, expected_maps(frames, method, label, versus), atol=1e-6)
    assert explanation.heatmaps.shape == (T, MAP, MAP)
    assert explanation.heatmaps.dtype == np.float32
    assert (explanation.label, explanation.method, explanation.versus) == (label, method, versus)


def test_relevance_is_each_frames_share_of_gradient_times_features(detector: Detector, frames: Frames) -> None:
    expected = Expected(frames)
    support = np.maximum((expected.feature_gradient(target("fire", "normal")) * expected.features).sum(axis=1), 0)

    relevance = detector.explain("grad-cam", "fire", "normal").relevance

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


def test_the_newest_frame_alone_has_the_last_heat_map(detector: Detector) -> None:
    whole = detector.explain("layercam", "fire", "normal").heatmaps[-1]

    np.testing.assert_allclose(detector.explain_newest("layercam", "fire", "normal"), whole, atol=1e-7)


def test_an_explanation_changes_no_decision(built_bundle: Path, frames: Frames) -> None:
    asked, unasked = whycam.load(built_bundle), whycam.load(built_bundle)
    for frame in [*frames, *frames]:
        first, second = asked.push(frame), unasked.push(frame)
        assert first is not None
        if first.warm:
            asked.explain()
            assert first == second


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
        ({"method": "magic"}, "method 'magic': there are grad-cam, hirescam, layercam"),
        ({"label": "flood"}, "class 'flood': the model knows normal, fight, fire"),
        ({"versus": "flood"}, "class 'flood': the model knows normal, fight, fire"),
        ({"label": "fire", "versus": "fire"}, "class 'fire' cannot be explained against itself"),
    ],
)
def test_a_question_about_what_does_not_exist_names_what_does(
    detector: Detector, arguments: dict[str, str], message: str
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
