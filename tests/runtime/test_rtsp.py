"""A network camera, played by a real RTSP server."""

from __future__ import annotations

import itertools
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from tests.runtime.rtsp_camera import rtsp_camera
from whycam import SourceError, open_source
from whycam.sources import network


@pytest.fixture
def camera() -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The port of a camera, and its process."""
    with rtsp_camera() as (port, process):
        yield port, process


def test_a_camera_yields_frames_with_the_time_of_day(camera: tuple[int, subprocess.Popen[str]]) -> None:
    port, _ = camera
    before = time.time()

    frames = list(itertools.islice(open_source(f"rtsp://guard:s3cret@127.0.0.1:{port}/gate"), 15))

    assert {frame.image.shape for frame in frames} == {(120, 160, 3)}
    assert before <= frames[0].time <= frames[-1].time <= time.time()


def test_a_wrong_password_is_said_without_showing_it(camera: tuple[int, subprocess.Popen[str]]) -> None:
    port, _ = camera

    with pytest.raises(SourceError, match="user name and password") as caught:
        open_source(f"rtsp://guard:wr0ng@127.0.0.1:{port}/gate")

    assert f"rtsp://127.0.0.1:{port}/gate" in str(caught.value)
    assert "wr0ng" not in str(caught.value)


def test_a_camera_that_goes_away_is_an_error_not_an_end(camera: tuple[int, subprocess.Popen[str]]) -> None:
    port, process = camera
    frames = open_source(f"rtsp://guard:s3cret@127.0.0.1:{port}/gate")
    next(frames)

    process.kill()

    with pytest.raises(SourceError, match="stopped sending"):
        for _ in frames:
            pass


def test_a_camera_that_accepts_but_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "OPEN_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []
        threading.Thread(target=lambda: accepted.append(listener.accept()[0]), daemon=True).start()

        with pytest.raises(SourceError, match=r"no camera answers there \(waited up to 0.5 s\)"):
            open_source(f"rtsp://127.0.0.1:{listener.getsockname()[1]}/gate")
