"""A camera that misbehaves: told, left, and opened again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import pytest

from tests.runtime.mqtt.collector import until
from whycam.bundle.manifest import Window
from whycam.config.models import Camera as CameraConfig
from whycam.errors import SourceError
from whycam.service import camera as module
from whycam.service.camera import MOST_STUCK, Camera
from whycam.service.clock import Clock
from whycam.service.states import State
from whycam.sources import Frame

WINDOW = Window(frames=4, frame_interval=0.02, max_gap=0.5)


class Source:
    """A camera whose frames a test gives; each opening is a generator of its own."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self.asked = 0
        self.every = 1
        self.seen_by: list[str] = []
        self.frames: Callable[[int], Iterator[np.ndarray]] = lambda _: iter(())
        self.hanging = threading.Event()
        """Set, reads that hang go on."""

    def open(self, _: str) -> Generator[Frame, None, None]:
        """As `open_source`: what cannot be opened raises at once."""
        self.opened += 1
        pictures = self.frames(self.opened)
        first = next(pictures)

        def frames() -> Generator[Frame, None, None]:
            try:
                yield Frame(first, time.time())
                for picture in pictures:
                    yield Frame(picture, time.time())
            finally:
                self.closed += 1

        return frames()

    def is_due(self, _: float) -> bool:
        """Whether the next frame is: every one, or one in so many."""
        self.asked += 1
        return self.asked % self.every == 0

    def see(self, frame: Frame) -> np.ndarray:
        """A corner, in place of what a model would see."""
        self.seen_by.append(threading.current_thread().name)
        return frame.image[:4, :4]

    def hang(self) -> None:
        """A read that does not return."""
        self.hanging.wait(60)


def moving(count: int = 1_000_000, size: tuple[int, int] = (48, 64)) -> Iterator[np.ndarray]:
    """Noise, no two pictures alike, a hundred per second."""
    generator = np.random.default_rng(1)
    for _ in range(count):
        yield generator.integers(30, 220, (*size, 3), np.uint8)
        time.sleep(0.01)


def still(shade: int) -> Iterator[np.ndarray]:
    """The very same picture again and again."""
    picture = np.full((48, 64, 3), shade, np.uint8)
    picture[::7] = min(shade * 2, 255)
    while True:
        yield picture
        time.sleep(0.01)


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source()
    yield made
    made.hanging.set()


@pytest.fixture
def start(source: Source, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Camera]]:
    """Starts cameras on the source, which are stopped at the end."""
    monkeypatch.setattr(module.Backoff, "next", lambda _: 0.05)
    cameras: list[Camera] = []

    def made(**settings: Any) -> Camera:
        config = CameraConfig.model_validate(
            {"name": "gate", "source": "rtsp://camera/1", "bundle": "b", "stall_seconds": 1, **settings}
        )
        camera = Camera(config, WINDOW, Clock(), lambda: None, lambda _: None, source.is_due, source.see, source.open)
        cameras.append(camera)
        camera.start()
        return camera

    yield made
    source.hanging.set()
    for camera in cameras:
        assert camera.stop(10)


def taken(camera: Camera) -> Frame:
    """The next frame, as the scoring thread takes it."""
    frame: Frame = until(camera.take, "a frame").frame
    camera.scored(warm=True)
    return frame


def score(camera: Camera) -> bool:
    """Score what waits, as the scoring thread does."""
    if camera.take() is not None:
        camera.scored(warm=True)
    return True


def test_the_newest_frame_wins_and_the_rest_is_counted(source: Source, start: Callable[..., Camera]) -> None:
    source.frames = lambda _: moving()
    camera = start()
    first = taken(camera)
    until(lambda: camera.counters.dropped > 3)
    later = taken(camera)
    assert later.time > first.time
    assert camera.state.state is State.RUNNING
    assert camera.counters.captured > camera.counters.dropped
    until(lambda: camera.fps > 10)


def test_what_is_due_is_made_ready_where_it_is_read_and_nothing_else(
    source: Source, start: Callable[..., Camera]
) -> None:
    source.frames = lambda _: moving(20)
    source.every = 5
    camera = start()
    shot = until(camera.take)
    assert (shot.seen == shot.frame.image[:4, :4]).all()
    assert shot.frame.image.shape == (48, 64, 3)
    until(lambda: source.asked >= 20)
    assert source.seen_by == ["read gate"] * 4


def test_a_source_that_does_not_open_is_tried_again_and_again(source: Source, start: Callable[..., Camera]) -> None:
    def frames(opening: int) -> Iterator[np.ndarray]:
        if opening < 4:
            raise SourceError("rtsp://camera/1: no camera answers there")
        return moving()

    source.frames = frames
    camera = start()
    reasons = []
    until(lambda: reasons.append(camera.state.reason) or camera.take())
    assert "rtsp://camera/1: no camera answers there" in reasons
    assert source.opened == 4


def test_a_source_that_breaks_off_is_opened_again(source: Source, start: Callable[..., Camera]) -> None:
    source.frames = lambda opening: moving(5) if opening == 1 else moving()
    camera = start()
    taken(camera)
    until(lambda: source.opened == 2 and camera.take())
    assert source.closed == 1
    assert camera.counters.opened == 2


def test_a_read_that_hangs_is_left_and_the_source_opened_anew(source: Source, start: Callable[..., Camera]) -> None:
    def frames(opening: int) -> Iterator[np.ndarray]:
        yield from moving(3)
        if opening == 1:
            source.hang()
            # What a hung read brings when it comes back after all is too old.
            yield np.zeros((48, 64, 3), np.uint8)
        yield from moving()

    source.frames = frames
    camera = start()
    taken(camera)
    until(lambda: source.opened == 2)
    assert camera.counters.abandoned == 1
    source.hanging.set()
    until(lambda: source.closed == 1)
    for _ in range(5):
        assert taken(camera).image.any()


def test_only_so_many_reads_may_hang(source: Source, start: Callable[..., Camera]) -> None:
    def frames(_: int) -> Iterator[np.ndarray]:
        yield from moving(1)
        source.hang()
        yield from moving()

    source.frames = frames
    camera = start()
    until(lambda: camera.state.state is State.FAILED)
    assert camera.state.reason is not None
    assert f"{MOST_STUCK} reads of the source hang" in camera.state.reason
    assert source.opened == MOST_STUCK
    source.frames = lambda _: moving()
    source.hanging.set()
    until(lambda: source.opened > MOST_STUCK and camera.take())


def test_a_frozen_picture_is_told_from_a_quiet_scene(source: Source, start: Callable[..., Camera]) -> None:
    def frames(_: int) -> Iterator[np.ndarray]:
        pictures = still(90)
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            yield next(pictures)
        yield from moving()

    source.frames = frames
    camera = start(frozen_seconds=0.3, black_seconds=0)
    until(lambda: score(camera) and camera.state.reason == "frozen")
    assert camera.state.state is State.STALLED
    assert camera.counters.faults["frozen"] == 1
    until(lambda: score(camera) and camera.state.state is State.RUNNING)


def test_a_black_picture_is_told_and_light_ends_it(source: Source, start: Callable[..., Camera]) -> None:
    generator = np.random.default_rng(2)

    def frames(_: int) -> Iterator[np.ndarray]:
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            yield generator.integers(0, 4, (48, 64, 3), np.uint8)
            time.sleep(0.01)
        yield from moving()

    source.frames = frames
    camera = start(frozen_seconds=0, black_seconds=0.3)
    until(lambda: score(camera) and camera.state.reason == "black")
    assert camera.state.state is State.STALLED
    until(lambda: score(camera) and camera.state.state is State.RUNNING)
    assert camera.counters.faults == {"frozen": 0, "black": 1}


def test_a_picture_of_another_size_is_just_the_next_one(source: Source, start: Callable[..., Camera]) -> None:
    def frames(_: int) -> Iterator[np.ndarray]:
        yield from moving(10)
        yield from moving(size=(96, 128))

    source.frames = frames
    camera = start()
    until(lambda: taken(camera).image.shape == (96, 128, 3))
    assert source.opened == 1


def test_a_fault_of_the_program_in_reading_is_logged_and_outlived(
    source: Source, start: Callable[..., Camera], caplog: pytest.LogCaptureFixture
) -> None:
    def frames(opening: int) -> Iterator[np.ndarray]:
        if opening == 1:
            raise ZeroDivisionError
        return moving()

    source.frames = frames
    camera = start()
    taken(camera)
    assert "reading failed" in caplog.text


def test_a_file_that_has_ended_is_not_opened_again(source: Source, start: Callable[..., Camera]) -> None:
    source.frames = lambda _: moving(5)
    camera = start(source="video.mp4")
    until(lambda: camera.state.state is State.FAILED)
    assert camera.state.reason == "ended"
    assert source.opened == 1


def test_a_fast_file_waits_until_each_frame_is_taken(source: Source, start: Callable[..., Camera]) -> None:
    source.frames = lambda _: (np.full((48, 64, 3), shade, np.uint8) for shade in range(50))
    clock = iter(range(1000))
    source_open = source.open

    def timed(uri: str) -> Generator[Frame, None, None]:
        return (Frame(frame.image, next(clock) * 0.02) for frame in source_open(uri))

    source.open = timed  # type: ignore[method-assign,assignment]  # the same, with a film's own clock
    camera = start(source="video.mp4", playback="fast")
    shades = [int(taken(camera).image[0, 0, 0]) for _ in range(50)]
    assert shades == list(range(50))
    assert camera.counters.dropped == 0


def test_stopping_does_not_wait_for_a_read_that_hangs(source: Source, start: Callable[..., Camera]) -> None:
    def frames(_: int) -> Iterator[np.ndarray]:
        yield from moving(1)
        source.hang()

    source.frames = frames
    camera = start(stall_seconds=600)
    taken(camera)
    assert not camera.stop(0.1)
    source.hanging.set()
    assert camera.stop(10)
