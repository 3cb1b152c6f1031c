"""Video files and the addresses of sources."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import BLACK, GREEN, RED

from whycam import SourceError, open_source
from whycam.sources.network import without_credentials

MakeVideo = Callable[..., Path]


def test_a_file_yields_every_frame_with_its_time(make_video: MakeVideo) -> None:
    path = make_video([BLACK, RED, GREEN], fps=12)

    frames = list(open_source(path))

    assert [frame.time for frame in frames] == pytest.approx([0, 1 / 12, 2 / 12], abs=1e-3)
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 3
    assert frames[1].image.dtype == np.uint8
    assert frames[1].image[24, 32].argmax() == 2, "red is last in BGR"


@pytest.mark.parametrize("fps", [12, 25, 60])
@pytest.mark.parametrize("name", ["video.mp4", "video.avi"])
def test_times_increase_by_the_frame_period(make_video: MakeVideo, fps: float, name: str) -> None:
    times = [frame.time for frame in open_source(str(make_video([BLACK] * 20, fps, name)))]

    assert np.diff(times) == pytest.approx(1 / fps, abs=2e-3)


def test_a_file_may_be_named_by_its_address(make_video: MakeVideo) -> None:
    path = make_video([BLACK] * 3, name="a video.mp4")

    assert len(list(open_source(path.as_uri()))) == 3


def test_a_missing_file_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.mp4: no such file"):
        open_source(tmp_path / "nothing.mp4")


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (os.urandom(4096), "not a video"), (b"hello, world\n", "not a video")]
)
def test_a_file_that_is_no_video_is_named_at_once(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)

    with pytest.raises(SourceError, match=rf"broken\.mp4: .*{reason}") as caught:
        open_source(path)

    assert "\n" not in str(caught.value)


def test_a_directory_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a directory"):
        open_source(tmp_path)


def test_a_file_that_breaks_off_gives_what_can_be_decoded_and_says_so_once(
    make_video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    whole = make_video([RED, GREEN, BLACK] * 20, name="whole.avi")
    broken = whole.with_name("broken.avi")
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    with caplog.at_level(logging.WARNING, logger="whycam"):
        frames = list(open_source(broken))

    assert 10 < len(frames) < 60
    assert [record.getMessage() for record in caplog.records] == [
        f"{broken}: damaged or incomplete, {len(frames)} of 60 frames could be decoded"
    ]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "no source named"),
        ("gopher://someone:secret@host/video", "gopher://host/video: no source of kind 'gopher'"),
        ("file://elsewhere/video.mp4", "on another machine"),
        ("v4l2:", "no device named"),
        ("v4l2:/dev/video-none", "v4l2:/dev/video-none: no such device"),
        ("v4l2:/dev/null", "v4l2:/dev/null: does not open"),
        ("csi://front", "csi://front: the camera's number is missing"),
    ],
)
def test_an_address_that_names_no_source_says_what_would(uri: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(uri)

    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_csi_camera_without_gstreamer_says_what_to_install() -> None:
    import cv2

    if "GStreamer:                   YES" in cv2.getBuildInformation():
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(SourceError, match=r"csi://0: .*without GStreamer.*apt-get install -y nvidia-opencv"):
        open_source("csi://0")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://camera/stream", "rtsp://camera/stream"),
        ("rtsp://guard:s3cret@camera:554/stream", "rtsp://camera:554/stream"),
        ("rtsp://guard:s3@c/r?e#t@camera/stream", "rtsp://camera/stream"),
        ("rtsp://camera/stream?user=guard&password=s3cret", "rtsp://camera/stream"),
    ],
)
def test_messages_show_an_address_without_its_credentials(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
