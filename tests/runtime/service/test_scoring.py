"""One thread scores all cameras, in turn, and tells when it gets nowhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

import pytest

from tests.runtime.mqtt.collector import until
from whycam.service.lane import Lane
from whycam.service.scoring import Scoring


class Camera:
    """A lane whose frames a test provides."""

    def __init__(self, name: str, frames: int = 0) -> None:
        self.name = name
        self.frames = frames
        self.scored = 0
        self.ticks = 0
        self.failures = 0
        self.fault: Exception | None = None
        self.seconds = 0.0
        self.order: list[str] = []

    def advance(self) -> None:
        """Score a frame, if there is one."""
        if not self.frames:
            return
        self.frames -= 1
        time.sleep(self.seconds)
        if self.fault is not None:
            raise self.fault
        self.scored += 1
        self.order.append(self.name)

    def failed(self) -> None:
        """A frame could not be scored."""
        self.failures += 1

    def tick(self) -> None:
        """Time passes."""
        self.ticks += 1


@pytest.fixture
def scoring() -> Iterator[Scoring]:
    made = Scoring(lambda *_: None)
    made.start()
    yield made
    assert made.stop(10)


def serve(scoring: Scoring, *cameras: Camera) -> None:
    """Score these."""
    scoring.serve(cast("Any", cameras))


def test_cameras_take_turns_however_many_frames_one_has(scoring: Scoring) -> None:
    order: list[str] = []
    greedy, modest = Camera("greedy", 1000), Camera("modest", 20)
    greedy.order = modest.order = order
    serve(scoring, greedy, modest)
    until(lambda: modest.scored == 20)
    place = [number for number, name in enumerate(order) if name == "modest"]
    assert max(later - earlier for earlier, later in pairwise(place)) <= 2


def test_a_camera_whose_frames_fail_is_told_of_once_and_holds_up_no_other(
    scoring: Scoring, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = Camera("bad", 50), Camera("good", 50)
    bad.fault = ZeroDivisionError("by zero")
    serve(scoring, bad, good)
    until(lambda: good.scored == 50 and bad.frames == 0)
    assert caplog.text.count("a frame could not be scored") == 1
    assert bad.failures == 50
    assert scoring.stuck_seconds < 5


def test_time_passes_for_cameras_without_frames(scoring: Scoring) -> None:
    camera = Camera("gate")
    serve(scoring, camera)
    until(lambda: camera.ticks >= 2)


def test_no_frame_of_a_camera_is_scored_once_it_is_no_longer_served(scoring: Scoring) -> None:
    camera = Camera("gate", 1_000_000)
    camera.seconds = 0.001
    serve(scoring, camera)
    until(lambda: camera.scored > 3)
    serve(scoring)
    scored = camera.scored
    time.sleep(0.1)
    assert camera.scored == scored


def test_scoring_that_hangs_or_only_fails_shows() -> None:
    scoring = Scoring(lambda *_: None)
    hanging = threading.Event()
    camera = Camera("gate", 1)
    camera.advance = lambda: hanging.wait(60)  # type: ignore[method-assign,assignment,return-value]  # a model that hangs
    serve(scoring, camera)
    scoring.start()
    until(lambda: scoring.stuck_seconds > 0.7)
    hanging.set()

    failing = Camera("gate", 1)
    failing.fault = ZeroDivisionError("by zero")
    serve(scoring, cast("Any", failing))
    until(lambda: failing.frames == 0)
    # Idle rounds follow, twice a second; they are no sign of life after a failure.
    until(lambda: scoring.stuck_seconds > 1.5)
    failing.fault, failing.frames = None, 1
    scoring.wake()
    until(lambda: failing.scored == 1)
    until(lambda: scoring.stuck_seconds < 0.6)
    assert scoring.stop(10)


def test_an_idle_service_is_not_stuck(scoring: Scoring) -> None:
    lane: Lane = cast("Any", Camera("gate"))
    scoring.serve([lane])
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 1.5)
    assert scoring.stuck_seconds < 1.2
