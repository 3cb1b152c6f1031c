"""One thread scores all cameras, in turn, and tells when it gets nowhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.runtime.mqtt.collector import until
from whycam.service.lane import Lane, Turn
from whycam.service.scoring import Scoring


class CNN:
    """A model, of which a test sees in what batches it was asked."""

    at_once = 4

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.bad: str | None = None

    def samples(self, images: list[str], times: list[float]) -> list[str]:
        """Of pictures named as their cameras."""
        self.batches.append(images)
        if self.bad in images:
            raise ZeroDivisionError("by zero")
        return [f"sample of {image}" for image in images]


class Camera:
    """A lane whose frames a test provides."""

    def __init__(self, name: str, frames: int = 0, model: CNN | None = None, still: bool = False) -> None:
        self.name = name
        self.model = model or CNN()
        self.frames = frames
        self.still = still
        self.scored = 0
        self.samples: list[str | None] = []
        self.ticks = 0
        self.failures = 0
        self.fault: Exception | None = None
        self.seconds = 0.0
        self.order: list[str] = []

    def take(self) -> Turn | None:
        """Take a frame, if there is one."""
        if not self.frames:
            return None
        self.frames -= 1
        due: Any = SimpleNamespace(image=self.name, time=0.0, still=self.still)
        return Turn(cast("Any", None), due)

    @staticmethod
    def step_together(lanes: list[Camera], samples: list[str]) -> None:
        """Take the steps ahead."""
        assert len(lanes) == len(samples) > 1

    def decide(self, turn: Turn, sample: str | None) -> str:
        """Score the frame that was taken."""
        time.sleep(self.seconds)
        if self.fault is not None:
            raise self.fault
        self.samples.append(sample)
        self.order.append(self.name)
        self.scored += 1
        return "decision"

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


def test_frames_that_are_there_go_through_their_model_at_once(scoring: Scoring) -> None:
    one, other = CNN(), CNN()
    lanes = [Camera(f"one {number}", 5, one) for number in range(6)] + [Camera("other", 5, other)]
    serve(scoring, *lanes)
    until(lambda: all(lane.scored == 5 for lane in lanes))
    assert one.batches == [[f"one {number}" for number in group] for group in (range(4), range(4, 6))] * 5
    # A lone frame is no batch: its own detector runs the CNN.
    assert other.batches == []
    assert lanes[5].samples == ["sample of one 5"] * 5
    assert lanes[6].samples == [None] * 5


def test_a_frame_in_which_nothing_moved_is_in_no_batch(scoring: Scoring) -> None:
    model = CNN()
    lanes = [Camera("a", 3, model), Camera("still", 3, model, still=True), Camera("b", 3, model)]
    serve(scoring, *lanes)
    until(lambda: all(lane.scored == 3 for lane in lanes))
    assert model.batches == [["a", "b"]] * 3
    assert lanes[1].samples == [None] * 3


def test_where_frames_take_long_fewer_go_at_once(scoring: Scoring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whycam.service.scoring.BATCH_SECONDS", 0.05)
    model = CNN()
    lanes = [Camera(name, 3, model) for name in "abcd"]
    for lane in lanes:
        lane.seconds = 0.06
    serve(scoring, *lanes)
    until(lambda: all(lane.scored == 3 for lane in lanes))
    # The first batch tells how long a frame takes; from then on each goes alone.
    assert model.batches == [["a", "b", "c", "d"]]


def test_a_batch_that_fails_is_tried_frame_by_frame(scoring: Scoring) -> None:
    model = CNN()
    model.bad = "bad"
    good, bad = Camera("good", 20, model), Camera("bad", 20, model)
    bad.fault = ZeroDivisionError("by zero")
    serve(scoring, good, bad)
    until(lambda: good.scored == 20 and bad.failures == 20)
    assert good.samples == [None] * 20
    assert good.failures == 0


def test_all_cameras_are_scored_alike_when_there_is_more_than_can_be(scoring: Scoring) -> None:
    model = CNN()
    lanes = [Camera(str(number), 1_000_000, model) for number in range(11)]
    for lane in lanes:
        lane.seconds = 0.001
    serve(scoring, *lanes)
    until(lambda: lanes[-1].scored >= 20)
    serve(scoring)
    scored = [lane.scored for lane in lanes]
    assert max(scored) - min(scored) <= 1


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
    camera.take = lambda: hanging.wait(60) and None  # type: ignore[method-assign,return-value]  # a model that hangs
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
