"""A candidate beside a camera's bundle: the same frames, its own judgement, and no harm to the live one."""

from __future__ import annotations

import base64
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_bundle
from tiny_bundle import BLIND, INTERVAL, T

import whycam
from tests.runtime.deployment.versions import passed
from whycam.alerts.outbox import Outbox
from whycam.bundle import Bundle
from whycam.config.models import Bundles, Config
from whycam.detect import Decision, Model, sessions
from whycam.mqtt.payloads import DisagreementPayload
from whycam.service.camera import Shot
from whycam.service.candidates import Candidates
from whycam.service.clock import Clock
from whycam.service.compose import Composer
from whycam.service.compose_shadow import shadow_payload
from whycam.service.lane import Lane
from whycam.service.settings import CameraSettings
from whycam.service.shadow import WAITING, Shadow
from whycam.service.shadows import Shadows
from whycam.sources import Frame

RULES = {"minimum_seconds": 0.2, "merge_seconds": 0.3, "cool_down_seconds": 0, "update_seconds": 1}
COLOURS = {"quiet": (255, 0, 0), "fight": (0, 255, 0), "fire": (0, 0, 255)}
Play = list[tuple[str, int]]


class Stage:
    """A lane with a shadow, whose frames a test gives."""

    def __init__(self, folder: Path, live: Path, candidate: Path, **keys: object) -> None:
        camera = {
            "name": "gate",
            "source": "rtsp://gate/1",
            "bundle": str(live),
            "alert": RULES,
            "shadow": {"bundle": str(candidate), "within_seconds": 1.0, **keys},
        }
        self.config = Config.model_validate({"device": "post", "camera": [camera], "state_directory": str(folder)})
        self.clock = Clock()
        self.outbox = Outbox(folder / "outbox.db", 1 << 24, 86400)
        self.composer = Composer(self.config, self.clock, None)
        self.heard: list[Decision | None] = []
        self.candidates = Candidates(folder / "candidates.json", Bundles(), test=passed)
        self.shadows = Shadows(self.config, self.composer, self.outbox, self.candidates, self.hear)
        made = self.shadows.of(self.config.cameras[0])
        assert made is not None
        self.shadow: Shadow = made
        self.model = Model(Bundle.open(live))
        self.lane = Lane(
            self.config.cameras[0],
            self.model,
            CameraSettings(),
            (),
            self.clock,
            footage_seconds=0,
            ready=lambda: None,
            changed=lambda _: None,
            emit=lambda _: None,
            picture=lambda *_: None,
            drifted=lambda *_: None,
        )
        self.lane.follow_with(self.shadow, self.config.cameras[0])
        self.frames: list[Frame] = []
        self.decisions: list[Decision] = []

    def hear(self, lane: Lane, shadow: Shadow) -> None:
        """The shadow has something new to tell."""
        self.heard.append(shadow.latest[1] if shadow.latest is not None else None)

    def play(self, scenes: Play, *, together: bool = True) -> None:
        """Score frames of these scenes, one each 0.1 s; `together`: the next when the shadow is done with one."""
        for name, count in scenes:
            for _ in range(count):
                image = np.full((48, 64, 3), COLOURS[name], np.uint8)
                image[:: 2 + len(self.frames) % 5] //= 2
                self.frames.append(Frame(image, 100 + len(self.frames) * INTERVAL))
                self.score(self.frames[-1])
                if together:
                    assert self.shadows.worker.idle(30)

    def score(self, frame: Frame) -> None:
        """Score a frame, as the scoring thread does."""
        shot = Shot(frame, self.lane._judge.see(frame))
        self.lane.camera.take = lambda: shot  # type: ignore[method-assign]  # no camera is connected
        turn = self.lane.take()
        assert turn is not None
        self.decisions.append(self.lane.decide(turn))

    def told(self) -> Any:
        """What is said of the shadow."""
        return shadow_payload(self.composer, self.lane, self.shadow)

    def disagreements(self) -> list[DisagreementPayload]:
        """Those in the outbox."""
        rows = self.outbox.pending(100)
        return [DisagreementPayload.model_validate_json(row.message.payload) for row in rows]


@pytest.fixture
def candidate(built_bundle: Path, tmp_path: Path) -> Path:
    """The same extractor, and a head that takes a fight for normal."""
    return tiny_bundle.reweigh(Path(shutil.copytree(built_bundle, tmp_path / "blind.whycam")), BLIND)


@pytest.fixture
def staged(built_bundle: Path, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    made: list[Stage] = []

    def make(candidate: Path, *, start: bool = True, **keys: object) -> Stage:
        made.append(Stage(tmp_path, built_bundle, candidate, **keys))
        if start:
            made[-1].shadows.worker.start()
        return made[-1]

    yield make
    for one in made:
        if one.shadows.worker._thread.is_alive():
            one.shadows.stop(10)
        one.outbox.close()


@pytest.fixture
def cnn_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each batch that a CNN has seen."""
    runs: list[int] = []
    run = sessions.Graph.__call__

    def counted(graph: sessions.Graph, inputs: dict[str, Any]) -> Any:
        if "features" in graph.spec.outputs and "frames" in inputs:
            runs.append(len(inputs["frames"]))
        return run(graph, inputs)

    monkeypatch.setattr(sessions.Graph, "__call__", counted)
    return runs


def alone(candidate: Path, frames: list[Frame]) -> list[dict[str, float]]:
    """What the candidate says of the frames by itself, of those for which it is warm."""
    detector = whycam.load(candidate)
    decisions = [detector.push(frame.image, frame.time) for frame in frames]
    return [one.scores for one in decisions if one is not None and one.warm]


SCENES: Play = [("quiet", 8), ("fight", 8), ("fire", 8), ("quiet", 4)]


def test_with_the_same_extractor_the_cnn_runs_once(
    staged: Callable[..., Stage], candidate: Path, cnn_runs: list[int]
) -> None:
    stage = staged(candidate)
    stage.play(SCENES)
    assert cnn_runs == [1] * len(stage.frames)
    assert stage.told().shares_features
    heard = [one.scores for one in stage.heard if one is not None and one.warm]
    assert heard == alone(candidate, stage.frames)
    assert heard != [one.scores for one in stage.decisions if one.warm]


def test_with_another_extractor_each_runs_its_own(
    staged: Callable[..., Stage], candidate: Path, cnn_runs: list[int]
) -> None:
    stage = staged(tiny_bundle.retouch(candidate))
    stage.play(SCENES)
    assert cnn_runs == [1] * 2 * len(stage.frames)
    assert not stage.told().shares_features
    assert [one.scores for one in stage.heard if one is not None and one.warm] == alone(candidate, stage.frames)


def test_a_candidate_without_a_step_graph_shares_too(
    staged: Callable[..., Stage], headed_bundle: Path, cnn_runs: list[int]
) -> None:
    stage = staged(headed_bundle)
    stage.play(SCENES)
    assert cnn_runs == [1] * len(stage.frames)
    assert stage.told().max_difference < 1e-5
    assert stage.told().compared == len(stage.frames) - T + 1


def test_a_candidate_of_a_longer_frame_interval_sees_fewer_frames(
    staged: Callable[..., Stage], candidate: Path
) -> None:
    window = {"frames": T, "frame_interval": 2 * INTERVAL, "max_gap": 1.0}
    stage = staged(tiny_bundle.change(candidate, window=window))
    stage.play(SCENES)
    assert stage.told().compared == len(stage.frames) / 2 - T + 1


def test_a_candidate_of_another_input_size_sees_the_cameras_frame(staged: Callable[..., Stage], tmp_path: Path) -> None:
    larger = tiny_bundle.enlarge(tiny_bundle.build(tmp_path / "larger.whycam", explain="cams"))
    stage = staged(larger)
    stage.play(SCENES)
    assert stage.told().trouble is None
    assert [one.scores for one in stage.heard if one is not None and one.warm] == alone(larger, stage.frames)


def test_a_candidate_computes_at_a_lower_priority(staged: Callable[..., Stage], candidate: Path) -> None:
    stage = staged(tiny_bundle.retouch(candidate))
    stage.play([("quiet", 1)])
    thread = stage.shadows.worker._thread.native_id
    assert thread is not None
    assert os.getpriority(os.PRIO_PROCESS, thread) == max(
        10, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    )


def test_what_only_one_raises_is_told_with_the_heat_maps_of_both(staged: Callable[..., Stage], candidate: Path) -> None:
    stage = staged(candidate)
    stage.play([("quiet", 10), ("fight", 15), ("quiet", 10), ("fire", 15), ("quiet", 10)])
    told = stage.told()
    assert (told.episodes.both, told.episodes.live_only, told.episodes.candidate_only) == (1, 1, 0)
    assert (told.live.version, told.candidate.version) == ("1", "2")
    (one,) = stage.disagreements()
    assert (one.label, one.raised_by) == ("fight", "live")
    assert one.alert is not None
    assert one.live.score is not None
    assert one.candidate.score is not None
    assert one.candidate.score < 0.7 <= one.live.score
    assert one.live.heatmap is not None
    assert one.candidate.heatmap is not None
    assert one.live.heatmap.time == one.candidate.heatmap.time
    for view in (one.live, one.candidate):
        assert view.heatmap is not None
        jpeg = np.frombuffer(base64.b64decode(view.heatmap.image), np.uint8)
        assert cv2.imdecode(jpeg, cv2.IMREAD_COLOR) is not None
    assert told.agreed < told.compared


def test_the_candidate_raises_by_a_threshold_of_its_own_where_one_is_set(
    staged: Callable[..., Stage], built_bundle: Path
) -> None:
    stage = staged(built_bundle, threshold={"fight": 1.0})
    stage.play([("quiet", 10), ("fight", 15), ("fire", 15), ("quiet", 10)])
    episodes = stage.told().episodes
    assert (episodes.both, episodes.live_only, episodes.candidate_only) == (1, 1, 0)


def test_so_many_are_published_in_an_hour_and_the_others_counted(staged: Callable[..., Stage], candidate: Path) -> None:
    stage = staged(candidate, disagreements_per_hour=2)
    stage.play([("fight", 10), ("quiet", 20)] * 4)
    assert len(stage.disagreements()) == 2
    assert (stage.told().episodes.live_only, stage.told().withheld) == (4, 2)


def test_a_candidate_that_is_not_there_is_told_of_once_and_loaded_when_it_is(
    staged: Callable[..., Stage], candidate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = candidate.with_name("elsewhere.whycam")
    candidate.rename(elsewhere)
    stage = staged(candidate)
    stage.play([("quiet", 10)])
    told = stage.told()
    assert "no such bundle" in told.trouble
    assert (told.candidate, told.since, told.compared) == (None, None, 0)
    assert told.live.scores == pytest.approx(stage.decisions[-1].scores, abs=1e-6)
    assert told.failed + told.skipped == 10
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    assert all(one.warm for one in stage.decisions[T:])
    elsewhere.rename(candidate)
    stage.shadow._rests_until = time.monotonic()
    stage.play([("quiet", 10)])
    told = stage.told()
    assert (told.trouble, told.failed, told.skipped, told.compared) == (None, 0, 0, 10 - T + 1)


def test_a_candidate_whose_scores_are_no_numbers_is_in_trouble(
    staged: Callable[..., Stage], built_bundle: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(built_bundle, tmp_path / "nan.whycam"))
    stage = staged(tiny_bundle.reweigh(copied, np.full_like(BLIND, np.nan)))
    stage.shadow._rest_seconds = 60
    stage.play([("quiet", 10)])
    assert "not from 0 to 1" in stage.told().trouble
    assert stage.told().failed == 1, "and then it rests"
    assert stage.told().skipped > 0


def test_a_candidate_that_hangs_delays_nothing_and_what_it_misses_is_counted(
    staged: Callable[..., Stage], candidate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, entered = threading.Event(), threading.Event()
    load = Shadows._load

    def slow(shadows: Shadows, *arguments: Any) -> Any:
        entered.set()
        assert go_on.wait(60)
        return load(shadows, *arguments)

    monkeypatch.setattr(Shadows, "_load", slow)
    stage = staged(candidate)
    stage.play([("quiet", 1)], together=False)
    assert entered.wait(30)
    stage.play([("quiet", 29)], together=False)
    assert len(stage.decisions) == 30
    assert stage.told().skipped == 30 - WAITING
    go_on.set()
    assert stage.shadows.worker.idle(30)
    # Those that have waited are judged; what was skipped before the candidate was there does not count.
    assert stage.told().skipped == 0
    stage.play([("quiet", 5)])
    assert stage.told().compared > 0


def test_a_skipped_frame_leaves_its_slot_to_the_one_before(
    staged: Callable[..., Stage], candidate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = staged(tiny_bundle.retouch(candidate))
    stage.play([("quiet", 6)])
    with monkeypatch.context() as patched:
        patched.setattr(stage.shadow, "_queue", lambda *_: False)
        stage.play([("fight", 2)])
    stage.play([("fight", 6)])
    assert stage.told().skipped == 2
    seen = [*stage.frames[:6], *stage.frames[8:]]
    assert stage.heard[-1] is not None
    assert stage.heard[-1].scores == alone(candidate, seen)[-1]
    assert stage.told().compared == 6 - T + 1 + 6


def test_a_word_that_cannot_be_said_costs_no_frame(
    staged: Callable[..., Stage], candidate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = staged(candidate)
    stage.shadow._told = lambda *_: 1 / 0  # type: ignore[assignment]
    stage.shadow._queue = lambda *_: False
    stage.play([("quiet", 10)])
    assert len(stage.decisions) == 10
    assert caplog.text.count("the shadow cannot be told of") == 1


def test_a_retired_shadow_judges_nothing_more(staged: Callable[..., Stage], candidate: Path) -> None:
    stage = staged(candidate, start=False)
    stage.play([("quiet", 2)], together=False)
    stage.lane.follow_with(None, stage.config.cameras[0])
    stage.shadows.worker.start()
    assert stage.shadows.worker.idle(30)
    assert stage.heard == []
    assert stage.shadow.candidate is None


def test_cameras_with_the_same_candidate_share_it(staged: Callable[..., Stage], candidate: Path) -> None:
    shadows = staged(candidate).shadows
    live = Model(Bundle.open(candidate))
    camera = Config.model_validate(
        {"device": "post", "camera": [{"name": "gate", "source": "x.mp4", "bundle": str(candidate)}]}
    ).cameras[0]
    one = shadows._load(camera, live)
    assert shadows._load(camera, live) is one
    assert one.shares_features(live)


def test_what_is_published_can_be_read_as_json(staged: Callable[..., Stage], candidate: Path) -> None:
    stage = staged(candidate)
    stage.play(SCENES)
    body = json.loads(stage.told().encode())
    assert body["schema"] == "whycam.shadow/1"
    assert set(body["candidate"]["scores"]) == {"normal", "fight", "fire"}
    assert body["compared"] == len(stage.frames) - T + 1
