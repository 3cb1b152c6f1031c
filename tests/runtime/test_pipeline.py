"""GStreamer pipelines as sources: what is done where NVIDIA's decoder is, where it is not, and where a call hangs."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.rtsp_camera import PYTHON, rtsp_camera
from whycam import SourceError, open_source
from whycam.errors import InputError
from whycam.sources import capture, pipeline
from whycam.sources.frame import Frame
from whycam.sources.pipeline import Pipeline, decoded, from_nv12, has_decoder

OPENCV = "import cv2, re, sys; sys.exit(re.search('GStreamer: +YES', cv2.getBuildInformation()) is None)"


@pytest.fixture
def jetson(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as can be told from files and OpenCV, NVIDIA's decoder is here."""
    monkeypatch.setattr(pipeline, "_DECODER_PLUGIN", Path(__file__))
    monkeypatch.setattr(pipeline, "has_gstreamer", lambda: True)
    monkeypatch.delenv(pipeline.DECODER, raising=False)


def test_nv12_becomes_bgr() -> None:
    draw = ["-f", "lavfi", "-i", "color=red:size=64x48,format=nv12", "-frames:v", "1", "-f", "rawvideo", "-"]
    try:
        drawn = subprocess.run(["ffmpeg", "-loglevel", "error", *draw], capture_output=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("needs ffmpeg: apt-get install ffmpeg")

    image = from_nv12(np.frombuffer(drawn, np.uint8).reshape(72, 64))

    assert image.shape == (48, 64, 3)
    assert np.abs(image.astype(int) - (0, 0, 255)).max() <= 3


def test_without_nvidias_decoder_the_cpu_decodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pipeline, "_DECODER_PLUGIN", tmp_path / "none.so")

    assert not has_decoder()


@pytest.mark.usefixtures("jetson")
def test_the_environment_keeps_cameras_off_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_decoder()

    monkeypatch.setenv("WHYCAM_DECODER", "cpu")

    assert not has_decoder()


def test_a_decoder_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYCAM_DECODER", "gpu")

    with pytest.raises(InputError, match=r"WHYCAM_DECODER=gpu: .*give cpu"):
        open_source("rtsp://guard:s3cret@127.0.0.1:9/gate")


@pytest.mark.usefixtures("jetson")
def test_a_pipeline_that_does_not_open_leaves_it_to_the_cpu_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    def by_cpu(seconds: float) -> Generator[Frame, None, None]:
        left.append(seconds)
        yield Frame(np.zeros((2, 2, 3), np.uint8), 0.0)

    left: list[float] = []
    frames = list(decoded("camera", "no such element ! appsink", 5.0, by_cpu))

    assert len(frames) == 1
    assert 1.0 <= left[0] < 5.0
    assert [record.getMessage() for record in caplog.records] == [
        "camera: not decoded by NVIDIA's decoder, which does not take it, but by the CPU"
    ]


@pytest.mark.usefixtures("jetson")
def test_a_camera_that_nobody_can_open_is_no_matter_of_the_decoder(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SourceError, match="no camera answers there") as caught:
        open_source("rtsp://guard:s3cret@127.0.0.1:9/gate", 2)

    assert "s3cret" not in str(caught.value) + caplog.text
    assert caplog.records == []


def test_an_opening_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # FFmpeg in the place of GStreamer, which the OpenCV of the tests lacks: it waits half a minute by itself.
    monkeypatch.setattr(pipeline, "open_capture", lambda text, _backend: capture.open_capture(text, "FFMPEG"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hangs = Pipeline(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/gate", 0.3)

        assert not hangs.opened
        assert hangs.read() == (False, None)
        hangs.release()


def test_a_camera_is_read_through_gstreamer() -> None:
    with rtsp_camera() as (port, _):
        lines = through_gstreamer(f"rtsp://guard:s3cret@127.0.0.1:{port}/gate", 10, 12)

    assert lines == [f"rtsp://127.0.0.1:{port}/gate: decoded by NVIDIA's decoder", *["120 160 3"] * 12]


def test_a_camera_that_falls_silent_is_given_up() -> None:
    with rtsp_camera() as (port, process):
        frozen: list[str] = []

        def freeze(line: str) -> None:
            if line == "120 160 3" and not frozen:
                process.send_signal(signal.SIGSTOP)
                frozen.append(line)

        lines = through_gstreamer(f"rtsp://guard:s3cret@127.0.0.1:{port}/gate", 3, 1000, freeze)

    assert lines[-1].startswith(f"rtsp://127.0.0.1:{port}/gate: the camera stopped sending")


def test_a_wrong_password_is_said_without_showing_it() -> None:
    with rtsp_camera() as (port, _):
        (line,) = through_gstreamer(f"rtsp://guard:wr0ng@127.0.0.1:{port}/gate", 10, 1)

    assert "user name and password" in line
    assert "wr0ng" not in line


def through_gstreamer(url: str, seconds: float, count: int, see: Callable[[str], None] = print) -> list[str]:
    """What `gstreamer_reader.py` prints, each line shown to `see` when it comes."""
    if not Path(PYTHON).exists() or subprocess.run([PYTHON, "-c", OPENCV], capture_output=True).returncode != 0:
        pytest.skip("no OpenCV with GStreamer: apt-get install python3-opencv gstreamer1.0-plugins-good")
    reader = Path(__file__).with_name("gstreamer_reader.py")
    with subprocess.Popen(
        [PYTHON, reader, url, str(seconds), str(count)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            see(lines[-1])
    return lines
