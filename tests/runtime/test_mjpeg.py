"""Cameras that send MJPEG over HTTP."""

from __future__ import annotations

import itertools
import time

import pytest

from tests.runtime.mjpeg_camera import MjpegCamera
from whycam import SourceError, open_source
from whycam.sources import network


@pytest.mark.parametrize("with_length", [True, False])
def test_a_camera_yields_frames_with_the_time_of_day(with_length: bool) -> None:
    with MjpegCamera(with_length=with_length) as camera:
        before = time.time()
        frames = list(itertools.islice(open_source(f"http://127.0.0.1:{camera.port}/video"), 10))
        assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
        assert before <= frames[0].time <= frames[-1].time <= time.time()


def test_credentials_are_sent_and_a_wrong_password_is_said_without_showing_it() -> None:
    with MjpegCamera(credentials="guard:s3 cr/et") as camera:
        assert next(open_source(f"http://guard:s3%20cr%2Fet@127.0.0.1:{camera.port}/")).image.shape == (48, 64, 3)
        with pytest.raises(SourceError, match="user name and password") as caught:
            open_source(f"http://guard:wr0ng@127.0.0.1:{camera.port}/")
    assert "wr0ng" not in str(caught.value)


def test_a_camera_that_goes_silent_is_left_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "READ_SECONDS", 0.5)
    with MjpegCamera() as camera:
        frames = open_source(f"http://127.0.0.1:{camera.port}/")
        next(frames)
        camera.stalled.set()
        with pytest.raises(SourceError, match="stopped sending"):
            list(frames)


@pytest.mark.parametrize("fault", ["cut", "junk", "spoiled"])
def test_a_camera_that_breaks_off_is_told_or_goes_on_and_can_be_opened_again(fault: str) -> None:
    with MjpegCamera() as camera:
        frames = open_source(f"http://127.0.0.1:{camera.port}/")
        next(frames)
        if fault == "cut":
            camera.cut.set()
        elif fault == "junk":
            camera.junk = b"\x00--fra\r\nContent-Length: -5\r\n\r\n" * 50
        else:
            camera.spoiled = 3
        try:
            assert len(list(itertools.islice(frames, 40))) == 40
            assert fault != "cut"
        except SourceError as error:
            assert "stopped sending" in str(error)
        camera.cut.clear()
        camera.spoiled = 0
        assert next(open_source(f"http://127.0.0.1:{camera.port}/")).image.shape == (48, 64, 3)


def test_what_is_no_camera_is_refused() -> None:
    with MjpegCamera(credentials="a:b") as camera, pytest.raises(SourceError, match="no camera answers"):
        open_source(f"http://127.0.0.1:{camera.port}/")
