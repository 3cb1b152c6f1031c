"""Cameras: files, a real RTSP server, and addresses where there is none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.doctor.conftest import Installation, checked
from tests.runtime.rtsp_camera import rtsp_camera
from tests.runtime.service.running import write_video
from whycam.doctor import cameras
from whycam.doctor.asking import NoAnswerError
from whycam.doctor.report import Finding, Status
from whycam.doctor.service_state import Running

Configured = Callable[..., Installation]


def found(installation: Installation) -> dict[tuple[str | None, str], Finding]:
    findings = [checked(one) for one in cameras.cameras(installation)]
    return {(one.camera, one.check.partition(".")[2]): one for one in findings}


def failed(installation: Installation) -> Finding:
    ((_, finding),) = found(installation).items()
    assert finding.status is Status.FAILURE
    assert finding.check == "camera.open"
    return finding


def test_a_file_is_opened_and_its_rate_told(configured: Configured, tmp_path: Path) -> None:
    write_video(tmp_path / "video.mp4")

    told = found(configured())

    assert told["gate", "open"].status is Status.OK
    assert "64 x 48" in told["gate", "open"].found
    assert told["gate", "rate"].facts["fps"] == pytest.approx(10, abs=0.1)
    assert told["gate", "rate"].status is Status.OK


def test_each_camera_is_told_by_its_name(configured: Configured, tmp_path: Path) -> None:
    write_video(tmp_path / "video.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    sources = {"gate": "video.mp4", "none": "no.mp4", "empty": "empty.mp4"}

    told = found(configured(cameras=[{"name": name, "source": str(tmp_path / path)} for name, path in sources.items()]))

    assert told["gate", "open"].status is Status.OK
    assert "no such file" in told["none", "open"].found
    assert "the file is empty" in told["empty", "open"].found


def test_a_black_picture_is_a_warning(configured: Configured, tmp_path: Path, make_video: Any) -> None:
    make_video([(0, 0, 0)] * 10)

    assert found(configured())["gate", "open"].status is Status.WARNING


@pytest.mark.parametrize(("fps", "status"), [(8, Status.WARNING), (1, Status.FAILURE), (30, Status.OK)])
def test_a_camera_must_give_frames_as_often_as_its_model_looks(
    configured: Configured, make_video: Any, fps: int, status: Status
) -> None:
    make_video([(200, 0, 0)] * 12, fps=fps)

    assert found(configured())["gate", "rate"].status is status


def test_a_network_camera_is_opened_with_its_credentials(configured: Configured, tmp_path: Path) -> None:
    def credentials(text: str) -> Path:
        path = tmp_path / text
        path.write_text(text)
        path.chmod(0o600)
        return path

    with rtsp_camera() as (port, _):
        there = f"rtsp://127.0.0.1:{port}"
        listed = [
            {"name": "well", "source": f"{there}/gate", "credentials_file": credentials("guard:s3cret")},
            {"name": "wrong", "source": f"{there}/gate", "credentials_file": credentials("guard:wr0ng")},
            {"name": "without", "source": f"{there}/gate"},
            {"name": "elsewhere", "source": f"{there}/no", "credentials_file": credentials("guard:s3cret")},
        ]
        told = found(configured(cameras=listed))

    assert told["well", "open"].status is Status.OK
    assert told["well", "rate"].facts["fps"] == pytest.approx(10, abs=3)
    assert "refuses the user name or password" in told["wrong", "open"].found
    assert str(tmp_path / "guard:wr0ng") in str(told["wrong", "open"].fix)
    assert "asks for a user name and password" in told["without", "open"].found
    assert "the camera has no /no" in told["elsewhere", "open"].found
    assert not any(word in one.found for one in told.values() for word in ("s3cret", "wr0ng"))


def test_an_address_where_nothing_listens_and_a_name_that_is_not_known(configured: Configured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    told = failed(configured(cameras=[{"source": f"rtsp://127.0.0.1:{port}/stream"}]))
    assert f"127.0.0.1 is there, but nothing listens on port {port}" in told.found

    told = failed(configured(cameras=[{"source": "rtsp://no-such-camera.invalid/stream"}]))
    assert "the name no-such-camera.invalid is not known" in told.found


def test_a_server_that_is_no_camera(configured: Configured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(b"220 mail.example ESMTP\r\n\r\n")
                        connection.recv(1000)

        threading.Thread(target=answer, daemon=True).start()
        told = failed(configured(cameras=[{"source": f"rtsp://127.0.0.1:{listener.getsockname()[1]}/stream"}]))

    assert "is no RTSP camera" in told.found


def test_a_camera_that_says_nothing_holds_up_nobody(configured: Configured, tmp_path: Path) -> None:
    write_video(tmp_path / "video.mp4")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = f"rtsp://127.0.0.1:{listener.getsockname()[1]}/stream"
        told = found(configured(cameras=[{"name": "silent", "source": silent}, {"name": "gate"}]))

    assert told["gate", "open"].status is Status.OK
    assert told["silent", "open"].status is Status.FAILURE


def test_a_video_device_that_is_not_there(configured: Configured) -> None:
    told = failed(configured(cameras=[{"source": "v4l2:/dev/video97"}]))

    assert "no such device" in told.found
    assert told.fix == "v4l2-ctl --list-devices"


def test_permission_is_told_apart_from_absence(configured: Configured) -> None:
    installation = configured(cameras=[{"source": "v4l2:/dev/video0"}])
    assert installation.config is not None
    told = cameras.judge_failure(
        installation,
        installation.config.cameras[0],
        "v4l2:/dev/video0",
        "v4l2:/dev/video0: no permission; run `sudo usermod -aG video $USER` and log in again",
    )

    assert told.found == f"v4l2:/dev/video0: {installation.user.name} has no permission"
    assert str(told.fix).startswith(f"sudo usermod -aG video {installation.user.name}")


def test_a_camera_that_the_running_service_has_is_not_taken_from_it(configured: Configured) -> None:
    installation = configured(cameras=[{"source": "v4l2:/dev/video0"}])
    installation.once("running", lambda: Running({"healthy": True, "cameras": {"gate": "running"}}, 1))

    told = found(installation)["gate", "open"]

    assert (told.status, told.found) == (Status.OK, "v4l2:/dev/video0: in use by the service")


def test_where_the_process_crashes_the_cameras_that_it_had_open_are_named(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> Any:
        yield {"camera": "yard", "problem": "yard.mp4: no such file"}
        raise NoAnswerError("crashes with SIGSEGV")

    monkeypatch.setattr(cameras, "ask", crash)
    told = found(configured(cameras=[{"name": "gate"}, {"name": "yard"}]))

    assert "crashes with SIGSEGV" in told["gate", "open"].found
    assert "no such file" in told["yard", "open"].found


def test_without_opencv_nothing_is_opened(configured: Configured) -> None:
    installation = configured()
    broken = Installation(installation.machine, installation.path, 20, installation.config)

    def crash() -> Any:
        raise NoAnswerError("crashes with SIGSEGV")

    with pytest.raises(NoAnswerError):
        broken.once("opencv", crash)

    assert found(broken)["gate", "open"].status is Status.SKIPPED


def test_credentials_that_cannot_be_read_are_not_tried(configured: Configured, tmp_path: Path) -> None:
    source = {"source": "rtsp://127.0.0.1/stream", "credentials_file": tmp_path / "none"}

    assert found(configured(cameras=[source]))["gate", "open"].status is Status.SKIPPED
