"""A network camera that shows what a test tells it to, and that can be killed, frozen and set up anew."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from types import TracebackType

from tests.chaos.processes import tied

PYTHON = "/usr/bin/python3"
BINDINGS = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good"


def missing_camera() -> str | None:
    """What to install for it; None where it is there."""
    found = Path(PYTHON).exists() and subprocess.run([PYTHON, "-c", BINDINGS], capture_output=True).returncode == 0
    return None if found else f"needs an RTSP server (apt-get install {PACKAGES})"


class ScriptedCamera:
    """A camera at `rtsp://127.0.0.1:PORT/PATH`, from the start to the end of a `with` block."""

    path = "gate"

    def __init__(self) -> None:
        """Show blue, 64 x 48, at 10 frames per second."""
        self.port = 0
        self._colour, self._size, self._rate = "blue", (64, 48), 10.0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> ScriptedCamera:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def show(self, colour: str) -> None:
        """From now on, show "blue", "green" or "red"."""
        self._colour = colour
        self._tell()

    def size(self, width: int, height: int) -> None:
        """From now on, pictures of so many pixels."""
        self._size = (width, height)
        self._tell()

    def rate(self, fps: float) -> None:
        """From now on, so many frames per second."""
        self._rate = fps
        self._tell()

    def start(self) -> None:
        """Listen; at the port of the time before, where there was one."""
        server = Path(__file__).with_name("scripted_server.py")
        self._process = subprocess.Popen(
            tied([PYTHON, server, self.port]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self._tell()

    def kill(self) -> None:
        """End as in a power cut."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def pause(self) -> None:
        """Fall silent, nothing closed."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _tell(self) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        width, height = self._size
        self._process.stdin.write(f"{self._colour} {width} {height} {self._rate:g}\n")
        self._process.stdin.flush()
