"""What systemd hears on its socket."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from whycam.service import systemd


@pytest.fixture(params=["path", "abstract"])
def listener(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The socket that $NOTIFY_SOCKET names."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@whycam-test-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1) if request.param == "abstract" else name)
        listening.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listening


def heard(listener: socket.socket) -> list[str]:
    return listener.recv(4096).decode().split("\n")


def test_each_step_of_a_service_is_told(listener: socket.socket) -> None:
    systemd.extend_timeout(60)
    systemd.status("loading colours")
    systemd.ready("2 cameras")
    systemd.watchdog("2 cameras, 1 stalled")
    systemd.watchdog()
    systemd.stopping()

    assert heard(listener) == ["EXTEND_TIMEOUT_USEC=60000000"]
    assert heard(listener) == ["STATUS=loading colours"]
    assert heard(listener) == ["READY=1", "STATUS=2 cameras"]
    assert heard(listener) == ["WATCHDOG=1", "STATUS=2 cameras, 1 stalled"]
    assert heard(listener) == ["WATCHDOG=1"]
    assert heard(listener) == ["STOPPING=1"]


def test_a_reload_says_when_it_began(listener: socket.socket) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    systemd.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    said, began = heard(listener)

    assert said == "RELOADING=1"
    name, _, value = began.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(value) <= after


def test_a_status_is_one_line_whatever_is_in_it(listener: socket.socket) -> None:
    systemd.status("camera 'gate'\nSTOPPING=1\r\n\udce9 ready")

    assert heard(listener) == ["STATUS=camera 'gate' STOPPING=1 ? ready"]


@pytest.mark.parametrize(
    "address", [None, "", "vsock:2:1234", "/nowhere/notify", "/" + 200 * "long", "@" + 200 * "long"]
)
def test_nobody_listening_is_no_error(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)

    systemd.ready("2 cameras")


def test_a_systemd_that_does_not_read_does_not_hold_the_service_up(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "_SEND_SECONDS", 0.001)

    for _ in range(1000):
        systemd.watchdog("2 cameras")


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "{own}"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "me"}, None),
    ],
)
def test_the_watchdog_holds_for_the_process_that_it_names(
    variables: dict[str, str], seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(own=os.getpid()))

    assert systemd.watchdog_seconds() == seconds
