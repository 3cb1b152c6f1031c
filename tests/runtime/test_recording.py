"""A recording read ahead and in batches: what is decided is what frames pushed one by one would give."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_bundle import SIZE

import whycam as library
from whycam import Decision, Detector, Frame, SourceError
from whycam.bundle import Bundle
from whycam.detect import Model
from whycam.detect.recording import decided


def footage(count: int = 120) -> list[Frame]:
    """Noise at 30 frames a second, with missing frames, a gap, and a clock that goes back."""
    dice = np.random.default_rng(5)
    times = [0.0]
    for index in range(1, count):
        times.append(times[-1] + {40: 0.35, 60: 5.0, 90: -3.0}.get(index, 1 / 30))
    return [Frame(dice.integers(0, 256, (2 * SIZE, 3 * SIZE, 3), np.uint8), time) for time in times]


def same(found: list[Decision], expected: list[Decision]) -> None:
    assert [(one.time, one.warm, one.label, one.alert) for one in found] == [
        (one.time, one.warm, one.label, one.alert) for one in expected
    ]
    scores = [[list(one.scores.values()) for one in decisions] for decisions in (found, expected)]
    np.testing.assert_allclose(*scores, atol=1e-5)


@pytest.mark.parametrize("made", ["built_bundle", "headed_bundle"])
def test_decisions_are_those_of_frames_pushed_one_by_one(made: str, request: pytest.FixtureRequest) -> None:
    model = Model(Bundle.open(request.getfixturevalue(made)))
    plain, frames = Detector(model), footage()

    expected = [(frame.time, plain.push(frame.image, frame.time)) for frame in frames]
    found = list(decided(Detector(model), iter(frames)))

    assert [(time, decision is None) for time, decision in found] == [(time, one is None) for time, one in expected]
    same([one for _, one in found if one is not None], [one for _, one in expected if one is not None])
    assert {one.warm for _, one in found if one is not None} == {True, False}


def test_the_detector_is_at_each_decision_when_that_comes(built_bundle: Path) -> None:
    model, frames = Model(Bundle.open(built_bundle)), footage(60)
    detector, plain = Detector(model), Detector(model)

    for frame, (time, decision) in zip(frames, decided(detector, iter(frames)), strict=True):
        plain.push(frame.image, frame.time)
        if decision is not None and decision.warm:
            assert detector.snapshot().times()[-1] == time
            np.testing.assert_allclose(detector.explain().heatmaps, plain.explain().heatmaps, atol=1e-5)


def test_a_source_that_breaks_off_raises_after_its_decisions(built_bundle: Path) -> None:
    def broken() -> Iterator[Frame]:
        yield from footage(30)
        raise SourceError("torn film")

    seen = []
    with pytest.raises(SourceError, match="torn film"):
        for time, _ in decided(library.load(built_bundle), broken()):
            seen.append(time)
    assert len(seen) == 30


def test_the_reading_ends_with_the_wish_for_decisions(built_bundle: Path) -> None:
    decisions = decided(library.load(built_bundle), iter(footage()))
    next(decisions)
    decisions.close()
    assert not any(thread.name == "read ahead" for thread in threading.enumerate())


@pytest.mark.parametrize("filmed", [False, True])
def test_a_scored_video_has_the_decisions_of_its_frames(
    built_bundle: Path, tmp_path: Path, whycam: Callable[..., object], filmed: bool
) -> None:
    dice = np.random.default_rng(2)
    video = tmp_path / "noise.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for _ in range(100):
        writer.write(np.full((48, 64, 3), dice.integers(0, 256, 3), np.uint8))
    writer.release()

    done = whycam("score", video, "-b", built_bundle, *(["-o", tmp_path / "film"] if filmed else []))

    detector = library.load(built_bundle)
    pushed = [detector.push(frame.image, frame.time) for frame in library.open_source(str(video))]
    expected = [json.loads(one.json()) for one in pushed if one is not None]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [{**line, "scores": None} for line in lines] == [{**one, "scores": None} for one in expected]
    for line, one in zip(lines, expected, strict=True):
        assert line["scores"] == pytest.approx(one["scores"], abs=1e-5)
