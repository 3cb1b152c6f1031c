"""From an episode to what is sent of it: the alert first, its reasons when they are there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.mqtt.collector import until
from whycam.alerts.outbox import Outbox
from whycam.bundle import Bundle
from whycam.config.models import Camera, Config
from whycam.detect import Model
from whycam.service.camera import Shot
from whycam.service.clock import Clock
from whycam.service.compose import Composer
from whycam.service.lane import Lane
from whycam.service.metrics import Metrics
from whycam.service.reporting import Reporter
from whycam.service.settings import CameraSettings
from whycam.sources import Frame

RULES = {"minimum_seconds": 0.2, "merge_seconds": 0.3, "cool_down_seconds": 0, "update_seconds": 1}
FIGHT = np.full((48, 64, 3), (0, 255, 0), np.uint8)


class Stage:
    """A lane whose frames a test gives, a reporter, and the outbox that it fills; only what is started works."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        camera = {"name": "gate", "source": "rtsp://gate/1", "bundle": str(bundle), "alert": RULES}
        self.config = Config.model_validate(
            {
                "device": "post",
                "broker": {"host": "127.0.0.1"},
                "camera": [camera],
                "state_directory": str(folder),
                # No alert waits for its reasons: all come late.
                "explain": {"within_seconds": 0},
            }
        )
        self.clock = Clock()
        self.model = Model(Bundle.open(bundle))
        self.outbox = Outbox(folder / "outbox.db", 1 << 24, 86400)
        composer = Composer(self.config, self.clock, None)
        self.reporter = Reporter(self.config, composer, self.outbox, None, Metrics())
        self.moment = time.time()

    def lane(self, before: Lane | None = None) -> Lane:
        """A lane of the camera, which carries on the episodes of the one `before`, as at a reload."""
        camera: Camera = self.config.cameras[0]
        return Lane(
            camera,
            self.model,
            CameraSettings(),
            before.retire() if before else (),
            self.clock,
            footage_seconds=0,
            ready=lambda: None,
            changed=lambda _: None,
            emit=self.reporter.alerts.put,
            picture=lambda *_: None,
            drifted=lambda *_: None,
        )

    def play(self, lane: Lane, count: int) -> None:
        """Score frames of a fight, one each 0.1 s."""
        for _ in range(count):
            self.moment += 0.1
            shot = Shot(Frame(FIGHT, self.moment), FIGHT[:8, :8])
            lane.camera.take = lambda shot=shot: shot  # type: ignore[method-assign,misc]  # no camera is connected
            turn = lane.take()
            assert turn is not None
            lane.decide(turn)

    def sent(self) -> list[dict[str, Any]]:
        """The alerts in the outbox."""
        return [json.loads(row.message.payload) for row in self.outbox.pending(100) if row.kind == "alert"]


@pytest.fixture
def stage(tmp_path: Path, built_bundle: Path) -> Iterator[Stage]:
    made = Stage(tmp_path, built_bundle)
    made.reporter.alerts.start()
    yield made
    made.reporter.alerts.stop(10, finish=True)
    made.outbox.close()


def test_reasons_that_come_late_follow_as_an_update(stage: Stage) -> None:
    lane = stage.lane()
    stage.play(lane, 8)
    until(lambda: len(stage.sent()) == 1)
    stage.reporter.explanations.start()
    until(lambda: len(stage.sent()) == 2)
    raised, updated = stage.sent()
    assert (raised["phase"], raised["explanation"]) == ("raised", None)
    assert (updated["phase"], updated["reason"], updated["sequence"]) == ("updated", "explanation", 1)
    assert updated["explanation"]["method"] == stage.config.explain.method


def test_reasons_that_come_after_a_reload_go_with_the_new_lanes_next_message(stage: Stage) -> None:
    """The lane that asked is retired by then: it has no say any more, and the episode goes on in another's hands."""
    old = stage.lane()
    stage.play(old, 8)
    until(lambda: len(stage.sent()) == 1)
    new = stage.lane(before=old)
    stage.reporter.explanations.start()
    stage.reporter.explanations.idle(30)
    stage.reporter.alerts.idle(30)
    assert len(stage.sent()) == 1, "the retired lane says nothing"
    stage.play(new, 20)
    until(lambda: len(stage.sent()) >= 2)
    raised, updated, *_ = stage.sent()
    assert (raised["phase"], raised["explanation"]) == ("raised", None)
    assert (updated["id"], updated["phase"], updated["sequence"]) == (raised["id"], "updated", 1)
    assert updated["explanation"] is not None
    assert [one.id for one in stage.outbox.open_episodes("gate")] == [raised["id"]]


def test_a_retired_lane_ends_nothing(stage: Stage) -> None:
    """Whatever still comes to it: its episodes are another's."""
    old = stage.lane()
    stage.play(old, 8)
    until(lambda: len(stage.sent()) == 1)
    new = stage.lane(before=old)
    episode = new.open_episodes[0]
    old.tick()
    old.close("removed")
    old.set_armed(False)
    assert old.restate(episode.id, "explanation") is False
    stage.reporter.alerts.idle(30)
    assert len(stage.sent()) == 1
    assert new.open_episodes == (episode,)
