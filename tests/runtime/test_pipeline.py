"""GStreamer pipelines as sources: what is done where NVIDIA's decoder is, where it is not, and where a call hangs."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.rtsp_camera import PYTHON, rtsp_camera
from whycam import SourceError, open_source
from whycam.errors import InputError
from whycam.sources import capture, csi, pipeline
from whycam.sources.frame import Frame, bgr
from whycam.sources.pipeline import MOST_HANGING, Pipeline, decoded, has_decoder

OPENCV = "import cv2, re, sys; sys.exit(re.search('GStreamer: +YES', cv2.getBuildInformation()) is None)"


@pytest.fixture
def jetson(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as can be told from files and OpenCV, NVIDIA's decoder is here."""
    monkeypatch.setattr(pipeline, "_DECODER_PLUGIN", Path(__file__))
    monkeypatch.setattr(pipeline, "has_gstreamer", lambda: True)
    monkeypatch.delenv(pipeline.DECODER, raising=False)


@dataclass
class Hanging:
    """Pipelines whose opening hangs until the test lets it come back."""

    let: threading.Event
    begun: list[str]

    def open(self, text: str, _backend: str) -> None:
        self.begun.append(text)
        self.let.wait(5)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    hanging = Hanging(threading.Event(), [])
    monkeypatch.setattr(pipeline, "open_capture", hanging.open)
    monkeypatch.setattr(pipeline, "_hanging", {})
    yield hanging
    hanging.let.set()


def test_nv12_becomes_bgr() -> None:
    draw = ["-f", "lavfi", "-i", "color=red:size=64x48,format=nv12", "-frames:v", "1", "-f", "rawvideo", "-"]
    try:
        drawn = subprocess.run(["ffmpeg", "-loglevel", "error", *draw], capture_output=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("needs ffmpeg: apt-get install ffmpeg")

    image = bgr(np.frombuffer(drawn, np.uint8).reshape(72, 64))

    assert image.shape == (48, 64, 3)
    assert np.abs(image.astype(int) - (0, 0, 255)).max() <= 3


@pytest.mark.usefixtures("jetson")
def test_without_nvidias_decoder_or_gstreamer_the_cpu_decodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as without:
        without.setattr(pipeline, "_DECODER_PLUGIN", tmp_path / "none.so")
        assert not has_decoder()
    assert has_decoder()

    monkeypatch.setattr(pipeline, "has_gstreamer", lambda: False)

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
    assert 0.0 < left[0] < 5.0
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


@pytest.mark.usefixtures("jetson")
def test_a_decoder_that_hangs_leaves_the_cpu_time_to_open(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_cpu(seconds: float) -> Generator[Frame, None, None]:
        left.append(seconds)
        yield Frame(np.zeros((2, 2, 3), np.uint8), 0.0)

    left: list[float] = []
    monkeypatch.setattr(pipeline, "_SHARE", 0.001)

    assert len(list(decoded("camera", "hangs", 100.0, by_cpu))) == 1
    assert left[0] > 0
    (given_up,) = pipeline._hanging["hangs"]
    assert given_up.is_alive()


def test_a_csi_camera_that_hangs_is_given_up_in_the_time_that_is_given(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csi, "has_gstreamer", lambda: True)

    with pytest.raises(SourceError, match="csi://0: the camera does not open"):
        open_source("csi://0", 0.05)

    (thread,) = next(iter(pipeline._hanging.values()))
    assert thread.is_alive()


def test_while_many_pipelines_of_a_camera_hang_none_is_begun(hanging: Hanging) -> None:
    given_up = [Pipeline("hangs", 0.02) for _ in range(MOST_HANGING + 2)]
    for one in given_up:
        assert one.read() == (False, None)
        one.release()

    assert hanging.begun == ["hangs"] * MOST_HANGING
    assert not Pipeline("of another camera", 0.02).opened
    assert hanging.begun[-1] == "of another camera"

    hanging.let.set()
    for thread in pipeline._hanging["hangs"]:
        thread.join(5)
    Pipeline("hangs", 5).release()

    assert hanging.begun[-1] == "hangs"
    assert pipeline._hanging["hangs"] == []


@dataclass
class Fixed:
    """A capture that gives pictures of this shape."""

    shape: tuple[int, ...]
    released: bool = False

    def read(self) -> tuple[bool, np.ndarray]:
        return True, np.zeros(self.shape, np.uint8)

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize(
    ("shape", "whole"),
    [((72, 64), True), ((69, 62), True), ((72, 63), False), ((70, 64), False), ((48, 64, 3), False)],
    ids=["even", "no multiple of four", "odd width", "odd height", "no NV12"],
)
def test_pictures_that_are_no_whole_nv12_are_left_to_the_cpu(
    shape: tuple[int, ...], whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Fixed(shape)
    monkeypatch.setattr(pipeline, "open_capture", lambda *_: given)
    read = Pipeline("fixed")

    assert read.opened == whole
    if whole:
        for _ in range(2):
            found, pixels = read.read()
            assert found
            assert bgr(pixels).shape == (shape[0] * 2 // 3, shape[1], 3)  # type: ignore[arg-type] # it was found
    read.release()
    assert given.released


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
