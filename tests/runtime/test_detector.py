"""The detector: frames in, decisions out."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from conftest import BLUE, GREEN, RED
from numpy.typing import NDArray
from tiny_bundle import INTERVAL, SIZE, Expected, T

import whycam
from whycam import Decision, Detector, InputError
from whycam.bundle import Bundle
from whycam.detect import Due, Model
from whycam.detect.graphs import AT_ONCE
from whycam.detect.scorer import StepScorer
from whycam.detect.sessions import Graph

Frames = NDArray[np.uint8]


@pytest.fixture
def detector(built_bundle: Path) -> Detector:
    return whycam.load(built_bundle)


@pytest.fixture
def frames() -> Frames:
    return np.random.default_rng(7).integers(0, 256, (30, SIZE, SIZE, 3), dtype=np.uint8)


def plain(colour: tuple[int, int, int], height: int = SIZE, width: int = SIZE) -> Frames:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def decide(detector: Detector, frames: Frames, times: list[float] | None = None) -> list[Decision]:
    decisions = [detector.push(frame, None if times is None else times[index]) for index, frame in enumerate(frames)]
    return [decision for decision in decisions if decision is not None]


def values(decision: Decision) -> list[float]:
    return list(decision.scores.values())


def test_decisions_are_cold_until_the_window_is_full(detector: Detector, frames: Frames) -> None:
    *cold, warm = decide(detector, frames[:T])

    for decision in cold:
        assert not decision.warm
        assert not decision.alert
        assert decision.label is None
        assert list(decision.scores) == ["normal", "fight", "fire"]
        assert all(math.isnan(score) for score in decision.scores.values())
    assert warm.warm
    assert warm.label is not None


def test_scores_are_those_of_the_last_frames(detector: Detector, frames: Frames) -> None:
    decisions = decide(detector, frames)

    for end in range(T, len(frames) + 1):
        assert values(decisions[end - 1]) == pytest.approx(Expected(frames[end - T : end]).scores, abs=1e-6)


def test_step_and_head_agree(detector: Detector, headed_bundle: Path, frames: Frames) -> None:
    times = list(np.cumsum(np.random.default_rng(3).uniform(0.03, 0.35, len(frames))))

    stepped = decide(detector, frames, times)
    headed = decide(whycam.load(headed_bundle), frames, times)

    assert [decision.time for decision in stepped] == [decision.time for decision in headed]
    np.testing.assert_allclose([values(d) for d in stepped], [values(d) for d in headed], atol=1e-6)


@pytest.mark.parametrize(
    ("colour", "label", "alert"), [(BLUE, "normal", False), (GREEN, "fight", True), (RED, "fire", True)]
)
def test_an_anomaly_raises_an_alert(detector: Detector, colour: tuple[int, int, int], label: str, alert: bool) -> None:
    decision = decide(detector, np.stack([plain(colour)] * T))[-1]

    assert (decision.label, decision.alert) == (label, alert)


def test_frames_without_time_are_one_interval_apart(detector: Detector, frames: Frames) -> None:
    decisions = decide(detector, frames[:6])

    assert [decision.time for decision in decisions] == pytest.approx([INTERVAL * index for index in range(6)])


@pytest.mark.parametrize("fps", [12, 25, 30, 60])
def test_a_camera_of_any_rate_is_resampled_to_the_models(detector: Detector, fps: int) -> None:
    times = [index / fps for index in range(fps * 3)]

    decisions = decide(detector, np.stack([plain(RED)] * len(times)), times)

    assert len(decisions) == pytest.approx(3 / INTERVAL, abs=1)
    assert np.diff([decision.time for decision in decisions]) == pytest.approx(INTERVAL, abs=1 / fps)


def test_a_frame_that_is_not_due_gives_no_decision(detector: Detector, frames: Frames) -> None:
    assert detector.push(frames[0], 0.0) is not None
    assert detector.push(frames[1], 0.04) is None
    assert detector.push(frames[2], 0.10) is not None


def test_a_missed_slot_holds_the_sample_before_it(detector: Detector, frames: Frames) -> None:
    decide(detector, frames[:3], [0.0, 0.1, 0.2])

    decision = detector.push(frames[3], 0.4)

    assert decision is not None
    held = frames[[1, 2, 2, 3]]
    assert values(decision) == pytest.approx(Expected(held).scores, abs=1e-6)
    assert detector.explain().times == pytest.approx([0.1, 0.2, 0.2, 0.4])
    assert (detector.explain().frames == held).all()


def test_a_gap_makes_the_window_cold_and_new(detector: Detector, frames: Frames) -> None:
    decide(detector, frames[:T], [0.0, 0.1, 0.2, 0.3])

    decisions = decide(detector, frames[T : 2 * T], [1.0, 1.1, 1.2, 1.3])

    assert [decision.warm for decision in decisions] == [False, False, False, True]
    assert values(decisions[-1]) == pytest.approx(Expected(frames[T : 2 * T]).scores, abs=1e-6)


def test_a_clock_that_goes_back_makes_the_window_cold(detector: Detector, frames: Frames) -> None:
    decide(detector, frames[:T], [5.0, 5.1, 5.2, 5.3])

    decision = detector.push(frames[T], 1.0)

    assert decision is not None
    assert not decision.warm


def test_frames_of_another_size_are_resized(detector: Detector) -> None:
    sizes = [(480, 640), (64, 48), (7, 9), (SIZE, SIZE)]

    decision = decide(detector, [plain(RED, *size) for size in sizes])[-1]  # type: ignore[arg-type]  # of any sizes

    assert values(decision) == pytest.approx(Expected(np.stack([plain(RED)] * T)).scores, abs=1e-6)


def test_the_callers_array_may_be_reused(detector: Detector, frames: Frames) -> None:
    buffer = np.empty_like(frames[0])
    for frame in frames[:T]:
        buffer[:] = frame
        detector.push(buffer)

    assert (detector.explain().frames == frames[:T]).all()


@pytest.mark.parametrize(
    ("frame", "got"),
    [
        (np.zeros((8, 8, 3), dtype=np.float32), r"float32 \[8, 8, 3\]"),
        (np.zeros((8, 8), dtype=np.uint8), r"uint8 \[8, 8\]"),
        (np.zeros((8, 8, 4), dtype=np.uint8), r"uint8 \[8, 8, 4\]"),
        (np.zeros((0, 8, 3), dtype=np.uint8), r"uint8 \[0, 8, 3\]"),
        ([[1, 2, 3]], "list"),
        (None, "NoneType"),
    ],
)
def test_a_frame_of_another_kind_is_refused(detector: Detector, frame: object, got: str) -> None:
    with pytest.raises(InputError, match=rf"uint8 array \[height, width, 3\] of BGR pixels, not {got}"):
        detector.push(frame)  # type: ignore[arg-type]  # the point of the test


def test_frames_with_and_without_time_do_not_mix(detector: Detector, frames: Frames) -> None:
    detector.push(frames[0], 0.0)

    with pytest.raises(InputError, match="with a time before"):
        detector.push(frames[1])


def test_an_unknown_precision_names_those_there_are(built_bundle: Path) -> None:
    with pytest.raises(InputError, match="precision 'int8': bundle 'colours' has fp32"):
        whycam.load(built_bundle, precision="int8")


def test_an_unknown_provider_names_those_there_are(built_bundle: Path) -> None:
    with pytest.raises(InputError, match="execution provider 'quantum': the ONNX Runtime installed here has cpu"):
        whycam.load(built_bundle, providers=["quantum"])


@pytest.mark.parametrize("providers", [["cpu"], ["CPUExecutionProvider"], None])
def test_a_provider_has_a_short_and_a_long_name(built_bundle: Path, providers: list[str] | None) -> None:
    assert decide(whycam.load(built_bundle, providers=providers), np.stack([plain(RED)] * T))[-1].alert


def test_detectors_share_one_model_and_keep_their_own_windows(built_bundle: Path) -> None:
    model = Model(Bundle.open(built_bundle))
    green, red = Detector(model), Detector(model)
    for _ in range(T):
        of_green = green.push(plain(GREEN))
        of_red = red.push(plain(RED))
    assert of_green is not None and of_green.label == "fight"
    assert of_red is not None and of_red.label == "fire"


def test_a_snapshot_is_explained_as_the_window_was(built_bundle: Path) -> None:
    detector = whycam.load(built_bundle)
    for _ in range(T):
        detector.push(plain(GREEN))
    then, snapshot = detector.explain(), detector.snapshot()
    detector.push(np.zeros((8, 8, 3), dtype=np.uint8))
    later = detector.model.explain(snapshot)
    np.testing.assert_array_equal(later.heatmaps, then.heatmaps)
    assert later.label == then.label == "fight"
    with pytest.raises(InputError, match="no full window"):
        whycam.load(built_bundle).snapshot()


def test_a_still_picture_keeps_the_features_of_the_one_before(built_bundle: Path) -> None:
    detector = whycam.load(built_bundle)
    for _ in range(T):
        decision = detector.push(plain(GREEN))
    assert decision is not None and decision.label == "fight"
    black = np.zeros((8, 8, 3), dtype=np.uint8)
    for _ in range(T):
        held = detector.push(black, still=True)
    assert held is not None
    assert held.scores == pytest.approx(decision.scores)
    np.testing.assert_array_equal(detector.explain().frames[-1], black)


class Counted:
    """A graph that counts how often it runs."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.runs = 0

    def __call__(self, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        self.runs += 1
        return self.graph(inputs)


@pytest.mark.parametrize(("made", "name"), [("built_bundle", "_step"), ("headed_bundle", "_head")])
def test_a_window_of_one_held_sample_needs_no_graph_and_scores_the_same(
    made: str, name: str, frames: Frames, request: pytest.FixtureRequest
) -> None:
    detector, plain = (whycam.load(request.getfixturevalue(made)) for _ in range(2))
    counted = Counted(getattr(detector._scorer, name))
    setattr(detector._scorer, name, counted)
    runs = []
    for index, frame in enumerate(frames):
        # Moving, still for longer than a window, moving once, still again, moving to the end.
        still = 5 < index < 16 or 16 < index < 24
        decision = detector.push(frame, still=still)
        # The plain way: the features of the frame that is held, computed each time.
        shown = {True: 5 if index < 16 else 16, False: index}[still]
        expected = plain.push(frames[shown])
        assert decision is not None and expected is not None
        np.testing.assert_allclose(values(decision), values(expected), atol=1e-6)
        runs.append(counted.runs)
    held = [after == before for before, after in pairwise(runs)]
    settled = [index for index, idle in enumerate(held, start=1) if idle and index >= T - 1]
    # T samples of it fill the window, the next one is the same decision.
    assert settled == [*range(5 + T, 16), *range(16 + T, 24)]


# -- in two halves --


def taken(detector: Detector, frames: Frames, times: list[float], still: tuple[int, ...] = ()) -> list[Due]:
    dues = [
        detector.take(frame, time, still=n in still) for n, (frame, time) in enumerate(zip(frames, times, strict=True))
    ]
    return [due for due in dues if due is not None]


@pytest.mark.parametrize("made", ["built_bundle", "headed_bundle"])
def test_frames_that_the_cnn_sees_at_once_are_decided_on_as_one_by_one(
    made: str, frames: Frames, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(made)
    # Not due, missed slots, a gap in the middle.
    times = [index * 0.07 + (2.0 if index > 12 else 0.0) + (0.2 if index > 20 else 0.0) for index in range(len(frames))]
    still = (5, 6, 13, 22)
    plainly = whycam.load(path)
    expected = [plainly.push(frame, times[n], still=n in still) for n, frame in enumerate(frames)]

    detector = whycam.load(path)
    dues = taken(detector, frames, times, still)
    # First of all what is due, then the CNN for all of it, then the decisions.
    computed = [due for due in dues if not due.still]
    samples = detector.model.samples([due.image for due in computed], [due.time for due in computed])
    of = dict(zip(computed, samples, strict=True))
    decisions = [detector.decide(due, of.get(due)) for due in dues]

    assert len(computed) > AT_ONCE
    assert 0 < len(computed) < len(dues) < len(frames)
    expected = [decision for decision in expected if decision is not None]
    assert [(one.time, one.warm, one.label) for one in decisions] == [
        (one.time, one.warm, one.label) for one in expected
    ]
    np.testing.assert_allclose([values(d) for d in decisions], [values(d) for d in expected], atol=1e-6)
    assert (detector.explain().frames == plainly.explain().frames).all()
    np.testing.assert_allclose(detector.explain().heatmaps, plainly.explain().heatmaps, atol=1e-6)


def test_samples_of_a_batch_are_their_own(built_bundle: Path, frames: Frames) -> None:
    model = Model(Bundle.open(built_bundle))
    made = model.samples(list(frames), [float(index) for index in range(len(frames))])

    for index, sample in enumerate(made):
        alone = model.sample(frames[index], float(index))
        np.testing.assert_allclose(sample.features, alone.features, atol=1e-6)
        np.testing.assert_allclose(sample.maps[0], alone.maps[0], atol=1e-6)
        assert sample.time == alone.time
        assert sample.features.base is None and sample.maps[0].base is None


def test_a_frame_that_was_never_decided_upon_leaves_its_slot_to_the_one_before(
    detector: Detector, frames: Frames
) -> None:
    dues = taken(detector, frames[:5], [0.0, 0.1, 0.2, 0.3, 0.4])
    for place in (0, 1, 3, 4):
        decision = detector.decide(dues[place])

    held = frames[[1, 1, 3, 4]]
    assert values(decision) == pytest.approx(Expected(held).scores, abs=1e-6)


def test_still_after_a_frame_that_was_never_decided_upon_is_computed(detector: Detector, frames: Frames) -> None:
    dues = taken(detector, frames[:5], [0.0, 0.1, 0.2, 0.3, 0.4], still=(3, 4))
    for place in (0, 1, 3, 4):
        decision = detector.decide(dues[place])

    assert values(decision) == pytest.approx(Expected(frames[[1, 1, 3, 3]]).scores, abs=1e-6)


def test_more_frames_lost_than_a_gap_may_hold_make_the_window_cold(detector: Detector, frames: Frames) -> None:
    dues = taken(detector, frames[:15], [index / 10 for index in range(15)])
    warm = [detector.decide(due).warm for due in (*dues[:5], *dues[11:])]

    assert warm == [False] * 3 + [True] * 2 + [False] * 3 + [True]


def test_a_window_that_a_failure_has_torn_begins_anew(
    detector: Detector, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    dues = taken(detector, frames[:9], [index / 10 for index in range(9)])
    decisions = [detector.decide(due) for due in dues[:4]]
    with monkeypatch.context() as torn, pytest.raises(ValueError, match="torn"):
        torn.setattr(StepScorer, "advance", _torn)
        detector.decide(dues[4])
    decisions += [detector.decide(due) for due in dues[5:]]

    assert [one.warm for one in decisions] == [False, False, False, True, False, False, False, True]
    assert values(decisions[-1]) == pytest.approx(Expected(frames[5:9]).scores, abs=1e-6)


def _torn(*_: object) -> None:
    raise ValueError("torn")


# -- temperature --


def at_temperature(path: Path, temperature: float) -> Detector:
    bundle = Bundle.open(path)
    return Detector(Model(Bundle(path, bundle.manifest.model_copy(update={"temperature": temperature}))))


@pytest.mark.parametrize("made", ["built_bundle", "headed_bundle"])
def test_scores_are_the_softmax_of_the_logits_over_the_temperature(
    made: str, frames: Frames, request: pytest.FixtureRequest
) -> None:
    detector = at_temperature(request.getfixturevalue(made), 2.5)

    decision = decide(detector, frames)[-1]

    logits = np.asarray(detector.logits, np.float64) / 2.5
    expected = np.exp(logits) / np.exp(logits).sum()
    assert list(decision.scores.values()) == pytest.approx(list(expected), abs=1e-6)
    assert detector.snapshot().scores == decision.scores
    assert detector.model.snapshot(frames[-T:]).scores == pytest.approx(decision.scores, abs=1e-6)


@pytest.mark.parametrize("made", ["built_bundle", "headed_bundle"])
def test_at_a_temperature_of_one_scores_are_the_graphs_own(
    made: str, frames: Frames, request: pytest.FixtureRequest
) -> None:
    detector = whycam.load(request.getfixturevalue(made))
    decision = decide(detector, frames)[-1]
    # The graph's own softmax, asked without the runtime.
    head = ort.InferenceSession(detector.model.bundle.file("head.onnx"))
    window = detector.snapshot().features()[np.newaxis]

    own = head.run(["scores"], {"window": window})[0][0]
    _, scores = detector.model.logits(window)

    # A graph that runs rarely is opened otherwise than by default, and may round otherwise.
    assert scores[0].tolist() == pytest.approx(own.tolist(), abs=1e-6)
    if made == "headed_bundle":
        assert list(decision.scores.values()) == own.tolist()
    else:
        assert list(decision.scores.values()) == pytest.approx(own.tolist(), abs=1e-6)


def test_the_temperature_does_not_change_the_explanation(built_bundle: Path, frames: Frames) -> None:
    plain, cool = whycam.load(built_bundle), at_temperature(built_bundle, 3)
    decide(plain, frames)
    decide(cool, frames)

    assert np.array_equal(plain.explain(label="fire").heatmaps, cool.explain(label="fire").heatmaps)


def test_a_cold_window_has_no_logits(detector: Detector, frames: Frames) -> None:
    decide(detector, frames[: T - 1])

    assert detector.logits is None


def test_the_number_of_threads_changes_no_decision(built_bundle: Path, frames: Frames) -> None:
    one, all_cores = whycam.load(built_bundle, threads=1), whycam.load(built_bundle)
    expected = [decision.scores for decision in decide(all_cores, frames)]
    for decision, scores in zip(decide(one, frames), expected, strict=True):
        assert decision.scores == pytest.approx(scores, abs=1e-6, nan_ok=True)


def test_no_threads_are_refused(built_bundle: Path) -> None:
    with pytest.raises(InputError, match="threads 0: give 1 or more"):
        whycam.load(built_bundle, threads=0)


def test_windows_that_slide_together_decide_as_each_alone(built_bundle: Path, frames: Frames) -> None:
    alone = whycam.load(built_bundle)
    model = alone.model
    several = [whycam.Detector(model) for _ in range(3)]
    views = [frames, frames[::-1], np.roll(frames, 3, axis=0)]
    expected = [[decision.scores for decision in decide(whycam.Detector(model), view)] for view in views]

    found: list[list[dict[str, float]]] = [[], [], []]
    for index in range(len(frames)):
        dues = [each.take(view[index]) for each, view in zip(several, views, strict=True)]
        samples = model.samples([due.image for due in dues if due], [due.time for due in dues if due])
        whycam.Detector.step_together(several, samples)
        for place, (each, due, sample) in enumerate(zip(several, dues, samples, strict=True)):
            assert due is not None
            found[place].append(each.decide(due, sample).scores)

    for one, other in zip(found, expected, strict=True):
        for scores, wanted in zip(one, other, strict=True):
            assert scores == pytest.approx(wanted, abs=1e-6, nan_ok=True)


def test_a_step_taken_ahead_counts_for_its_sample_and_its_window_alone(built_bundle: Path, frames: Frames) -> None:
    model = whycam.load(built_bundle).model
    expected = [decision.scores for decision in decide(whycam.Detector(model), frames)]
    first, second = whycam.Detector(model), whycam.Detector(model)
    stranger = model.sample(np.zeros_like(frames[0]), 0.0)

    for index, frame in enumerate(frames):
        due = first.take(frame)
        assert due is not None
        sample = model.sample(due.image, due.time)
        # Of another sample, and then of an earlier state: neither is taken for this step.
        whycam.Detector.step_together([first, second], [stranger if index % 2 else sample, stranger])
        if index % 3 == 0:
            whycam.Detector.step_together([first, second], [stranger, stranger])
        assert first.decide(due, sample).scores == pytest.approx(expected[index], abs=1e-6, nan_ok=True)
