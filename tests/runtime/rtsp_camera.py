"""A network camera for tests: `rtsp_server.py` in a process of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PYTHON = "/usr/bin/python3"
BINDINGS = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good"


@contextmanager
def rtsp_camera() -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The port of a camera that shows /gate to user `guard` with password `s3cret`, and its process."""
    if not Path(PYTHON).exists() or subprocess.run([PYTHON, "-c", BINDINGS], capture_output=True).returncode != 0:
        pytest.skip(f"no RTSP server: apt-get install {PACKAGES}")
    server = Path(__file__).with_name("rtsp_server.py")
    with subprocess.Popen([PYTHON, server], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.kill()
