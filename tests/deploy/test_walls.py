"""The service behind the unit's system-call filter, address families and MemoryDenyWriteExecute=, without systemd."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.mqtt.broker import missing
from tests.runtime.service.running import Running

PYTHON = "/usr/bin/python3"


@pytest.fixture
def behind(repository: Path) -> list[object]:
    """What is put before a command, so that it runs behind the unit's walls."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp is not installed: apt-get install libseccomp2")
    words = [sys.executable, Path(__file__).with_name("walls.py"), repository / "deploy" / "whycam.service"]
    tried = run([*words, "/bin/true"])
    if "prctl" in tried.stderr or "seccomp" in tried.stderr:
        pytest.skip(f"no such walls here: {tried.stderr.splitlines()[-1]}")
    assert tried.returncode == 0, tried.stderr
    return words


def test_the_walls_stand(behind: list[object]) -> None:
    script = """
import mmap, os, socket
def refused(what):
    try:
        what()
    except OSError:
        return True
    return False
print(
    refused(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)),
    refused(lambda: os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))),
    refused(lambda: os.chroot("/")),
    refused(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    refused(lambda: os.setpriority(os.PRIO_PROCESS, 0, 5)),
)
"""
    # What the service needs, a lower priority for shadows, is let through.
    assert run([*behind, sys.executable, "-c", script]).stdout == "True True True True False\n"


def test_the_service_scores_explains_and_publishes_behind_them(behind: list[object], tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    with Running(tmp_path, behind=behind) as running:
        raised = running.alert("raised", label="fight")
        heatmap = running.subscriber.wait_for(lambda one: one.kind == "heatmap", 30)
        running.alert("cleared", label="fight")

        assert raised.body["explanation"] is not None
        assert heatmap is not None
        assert heatmap.payload.startswith(b"\xff\xd8")
        assert "pthread_setaffinity" not in running.service.log
        assert running.service.crashes == []


def test_a_camera_is_read_over_rtsp_behind_them(behind: list[object], rtsp: str) -> None:
    script = "import itertools, sys, whycam; print(len(list(itertools.islice(whycam.open_source(sys.argv[1]), 5))))"

    assert run([*behind, sys.executable, "-c", script, rtsp]).stdout == "5\n"


def test_tls_works_behind_them(behind: list[object]) -> None:
    script = """
import socket, ssl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
Ed25519PrivateKey.generate().sign(b"manifest")
ours, theirs = socket.socketpair()
tls = ssl.create_default_context().wrap_socket(ours, server_hostname="broker", do_handshake_on_connect=False)
tls.setblocking(False)
try:
    tls.do_handshake()
except ssl.SSLWantReadError:
    print(len(theirs.recv(4096)) > 0)
"""
    done = run([*behind, sys.executable, "-c", script])

    assert done.stdout == "True\n", done.stderr


@pytest.fixture
def rtsp() -> Iterator[str]:
    """The address of a camera, played by an RTSP server."""
    server = Path(__file__).parents[1] / "runtime" / "rtsp_server.py"
    bindings = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if not Path(PYTHON).exists() or run([PYTHON, "-c", bindings]).returncode != 0:
        pytest.skip("no RTSP server: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good")
    with subprocess.Popen([PYTHON, server], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"rtsp://guard:s3cret@127.0.0.1:{int(process.stdout.readline())}/gate"
        finally:
            process.kill()


def run(command: list[object]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
