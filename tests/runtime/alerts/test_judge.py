"""A camera's judge: zones, motion gate, model and episodes together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.runtime import tiny_bundle
from tests.runtime.cuda.host_device import HostDevice
from whycam.alerts.episodes import AlertEvent
from whycam.alerts.judge import FrameJudge, thresholds_of
from whycam.alerts.zones import FILL
from whycam.bundle import Bundle
from whycam.bundle.manifest import AlertRule
from whycam.config.models import Camera
from whycam.detect import Decision, Model
from whycam.errors import InputError
from whycam.sources import Frame

QUIET, FIGHT, FIRE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
RULES = {"minimum_seconds": 0.2, "merge_seconds": 0.3, "cool_down_seconds": 0, "signal_lost_seconds": 5}
LEFT = ((0, 0), (0.5, 0), (0.5, 1), (0, 1))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The model that knows colours: a sample each 0.1 s, a window of four."""
    return Model(Bundle.open(tiny_bundle.build(tmp_path_factory.mktemp("bundle") / "colours.whycam")))


def camera(**settings: Any) -> Camera:
    """A camera 'gate'."""
    fields = {"name": "gate", "source": "rtsp://gate/1", "bundle": "colours.whycam", "alert": RULES, **settings}
    return Camera.model_validate(fields)


def picture(left: tuple[int, int, int], right: tuple[int, int, int] | None = None) -> np.ndarray:
    """BGR [48, 64, 3] of one colour, or of two halves."""
    image = np.full((48, 64, 3), left, np.uint8)
    image[:, 32:] = left if right is None else right
    return image


def judged(
    judge: FrameJudge, pictures: Iterable[np.ndarray], start: float = 0.0
) -> tuple[list[Decision], list[AlertEvent]]:
    """The decisions and events of pictures that come each 0.1 s."""
    decisions, events = [], []
    for place, image in enumerate(pictures):
        decision, made = judge.push(image, start + place / 10)
        decisions += [] if decision is None else [decision]
        events += made
    return decisions, events


def phases(events: Iterable[AlertEvent]) -> list[tuple[str, str, str]]:
    """Phase, class and reason of each."""
    return [(event.phase, event.episode.label, event.reason) for event in events]


def test_frames_become_episodes(model: Model) -> None:
    judge = FrameJudge(model, camera())
    frames = [picture(QUIET)] * 6 + [picture(FIGHT)] * 8 + [picture(QUIET)] * 10
    _, events = judged(judge, frames)
    assert phases(events) == [("raised", "fight", "threshold"), ("cleared", "fight", "below-threshold")]
    assert judge.open_episodes == ()


def test_a_frame_that_is_not_due_is_no_decision(model: Model) -> None:
    judge = FrameJudge(model, camera())
    assert judge.push(picture(QUIET), 0.0)[0] is not None
    assert judge.push(picture(QUIET), 0.02) == (None, [])


NV12 = np.full((72, 64), 128, np.uint8)
MASK = {"name": "window", "kind": "mask", "polygon": LEFT}


@pytest.mark.parametrize(
    ("device", "zones", "converted"), [(None, [], True), (HostDevice, [], False), (HostDevice, [MASK], True)]
)
def test_a_decoders_frame_is_converted_once_at_most(
    device: type[HostDevice] | None, zones: list[dict[str, Any]], converted: bool, model: Model
) -> None:
    model = model if device is None else Model(model.bundle, providers=["cpu"], device=device())
    frame = Frame(NV12, 0.0)
    seen = np.asarray(FrameJudge(model, camera(zone=zones)).see(frame))
    assert seen.shape == (tiny_bundle.SIZE, tiny_bundle.SIZE, 3)
    assert (seen[:, 0] == (FILL if zones else seen[:, -1])).all()
    assert ("_image" in vars(frame)) == converted


# -- zones --


def test_what_a_mask_hides_raises_nothing(model: Model) -> None:
    frames = [picture(FIGHT, QUIET)] * 10
    seen, _ = judged(FrameJudge(model, camera(threshold=0.4)), frames)
    mask = {"name": "window", "kind": "mask", "polygon": LEFT}
    masked = FrameJudge(model, camera(threshold=0.4, zone=[mask]))
    hidden, events = judged(masked, frames)
    covered, _ = judged(FrameJudge(model, camera()), [masked.watch.apply(frame) for frame in frames])
    assert hidden[-1].scores["fight"] < seen[-1].scores["fight"]
    assert hidden[-1].scores == covered[-1].scores
    assert phases(events) == []


# -- motion --


def test_motion_between_two_samples_is_seen(model: Model) -> None:
    """A frame that shows it but is not due must not make the next one look still."""
    judge = FrameJudge(model, camera(motion={"enabled": True, "refresh_seconds": 60}))
    judged(judge, [picture(QUIET)] * 6)
    assert judge.push(picture(FIGHT), 0.52)[0] is None
    decisions, _ = judged(judge, [picture(FIGHT)] * 6, start=0.6)
    assert decisions[-1].label == "fight"


def test_a_still_picture_keeps_its_scores(model: Model) -> None:
    gated, _ = judged(FrameJudge(model, camera(motion={"enabled": True, "refresh_seconds": 60})), [picture(FIRE)] * 8)
    plain, _ = judged(FrameJudge(model, camera()), [picture(FIRE)] * 8)
    assert [one.label for one in gated] == [one.label for one in plain]
    assert gated[-1].scores == pytest.approx(plain[-1].scores, abs=1e-6)


def test_a_model_that_gives_no_numbers_is_as_a_cold_window(tmp_path: Path) -> None:
    bundle = tiny_bundle.build(tmp_path / "broken.whycam")
    for name in ("head.onnx", "step.onnx"):
        graph = onnx.load(bundle / name)
        (weights,) = (one for one in graph.graph.initializer if one.name == "weights")
        weights.CopyFrom(numpy_helper.from_array(np.full((3, 3), np.nan, np.float32), "weights"))
        onnx.save(graph, bundle / name)
    tiny_bundle.seal(bundle)
    decisions, events = judged(FrameJudge(Model(Bundle.open(bundle)), camera()), [picture(FIGHT)] * 12)
    assert len(decisions) == 12
    assert events == []
    for decision in decisions:
        assert (decision.warm, decision.label, decision.alert) == (False, None, False)
        assert all(np.isnan(score) for score in decision.scores.values())


# -- thresholds --


def test_thresholds_are_the_cameras_own_else_the_bundles(model: Model) -> None:
    assert thresholds_of(camera(), model.manifest) == {"fight": 0.7, "fire": 0.7}
    assert thresholds_of(camera(threshold=0.5), model.manifest) == {"fight": 0.5, "fire": 0.5}
    assert thresholds_of(camera(threshold={"fire": 0.9}), model.manifest) == {"fight": 0.7, "fire": 0.9}


@pytest.mark.parametrize("name", ["normal", "flood"])
def test_a_threshold_of_a_class_that_never_raises_is_refused(model: Model, name: str) -> None:
    with pytest.raises(InputError, match=rf"camera 'gate': threshold of '{name}': .* fight, fire$"):
        FrameJudge(model, camera(threshold={name: 0.5}))


def test_other_thresholds_judge_from_then_on(model: Model) -> None:
    judge = FrameJudge(model, camera(threshold={"fight": 1.0}))
    frames = [picture(FIGHT, QUIET)] * 8
    decisions, events = judged(judge, frames)
    assert events == []
    judge.set_thresholds({"fight": decisions[-1].scores["fight"] - 0.01, "fire": 0.7})
    _, events = judged(judge, frames, start=0.8)
    assert phases(events) == [("raised", "fight", "threshold")]


# -- what calibration has set --


def calibrated(built: Model, **rule: float) -> Model:
    """The same model, its bundle as `whycam calibrate thresholds` leaves it."""
    manifest = built.manifest.model_copy(
        update={"thresholds": {"fight": 0.8, "fire": 0.7}, "alert_rules": {"fight": AlertRule(**rule)}}
    )
    return Model(Bundle(built.bundle.path, manifest))


def test_rules_are_the_cameras_own_else_the_bundles_else_the_defaults(model: Model) -> None:
    bundles = calibrated(model, clear=0.6, minimum_seconds=2)

    asked = FrameJudge(bundles, camera(alert={"clear_ratio": 0.5, "minimum_seconds": 0.1})).rules
    plain = FrameJudge(bundles, camera(alert={})).rules

    assert (plain["fight"].raise_at, plain["fight"].clear_at, plain["fight"].minimum_seconds) == (0.8, 0.6, 2)
    assert (plain["fire"].raise_at, plain["fire"].clear_at, plain["fire"].minimum_seconds) == (0.7, 0.7 * 0.8, 0.5)
    assert (asked["fight"].raise_at, asked["fight"].clear_at, asked["fight"].minimum_seconds) == (0.8, 0.4, 0.1)


@pytest.mark.parametrize("how", ["configuration", "mqtt"])
def test_with_another_threshold_the_bundles_clearing_score_stays_the_same_share(model: Model, how: str) -> None:
    bundles = calibrated(model, clear=0.6, minimum_seconds=2)
    judge = FrameJudge(bundles, camera(alert={}, threshold=0.4 if how == "configuration" else None))
    if how == "mqtt":
        judge.set_thresholds({"fight": 0.4, "fire": 0.4})

    assert judge.rules["fight"].clear_at == pytest.approx(0.3)
    assert judge.rules["fight"].minimum_seconds == 2


def test_an_alert_waits_as_long_as_the_bundle_says(model: Model) -> None:
    frames = [picture(FIGHT)] * 20

    _, soon = judged(FrameJudge(model, camera(alert={})), frames)
    _, late = judged(FrameJudge(calibrated(model, clear=0.5, minimum_seconds=1), camera(alert={})), frames)

    assert [round(events[0].episode.raised_at - events[0].episode.onset, 3) for events in (soon, late)] == [0.5, 1.0]


# -- armed and disarmed --


def test_disarming_clears_and_arming_begins_anew(model: Model) -> None:
    judge = FrameJudge(model, camera())
    _, events = judged(judge, [picture(FIGHT)] * 8)
    (raised,) = events
    cleared = judge.set_armed(False, 0.8)
    assert phases(cleared) == [("cleared", "fight", "disarmed")]
    assert cleared[0].episode.id == raised.episode.id
    decisions, events = judged(judge, [picture(FIGHT)] * 8, start=0.8)
    # The model goes on: scores are told of a disarmed camera too.
    assert (len(decisions), events) == (8, [])
    assert judge.set_armed(True, 1.6) == []
    _, events = judged(judge, [picture(FIGHT)] * 4, start=1.6)
    assert phases(events) == [("raised", "fight", "threshold")]
    assert events[0].episode.id != raised.episode.id
    assert events[0].episode.onset == pytest.approx(1.6)


def test_it_can_begin_disarmed(model: Model) -> None:
    judge = FrameJudge(model, camera(), armed=False)
    assert judged(judge, [picture(FIGHT)] * 8)[1] == []


# -- over a restart --


def test_open_episodes_carry_on(model: Model) -> None:
    before = FrameJudge(model, camera())
    judged(before, [picture(FIGHT)] * 8)
    after = FrameJudge(model, camera(), before.open_episodes)
    _, events = judged(after, [picture(FIGHT)] * 6 + [picture(QUIET)] * 10, start=2.0)
    assert [(event.phase, event.episode.id) for event in events] == [("cleared", before.open_episodes[0].id)]
    assert events[0].episode.sequence == 1
