"""A disk with a volatile write cache: a power cut takes what the machine has not flushed to it.

A power cut loses two things: what the machine's own kernel had not written yet, which goes with the machine's memory,
and what the disk had taken into its cache and not onto its platters. The second is what killing qemu does not lose: its
writes are in the page cache of the host. So the disk is served by nbdkit, whose filter `cache` keeps all writes beside
the image until the machine says flush; killed, it has lost the rest.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from tests.chaos.processes import tied
from tests.machines.image import lacking

_START_SECONDS = 20


def missing() -> str | None:
    """Why there can be no such disk here; None where there can."""
    return lacking({"nbdkit": "nbdkit"})


class Disk:
    """The image `path` (raw), as a device at `uri` that forgets what was not flushed when its power is cut."""

    def __init__(self, path: Path, log: Path) -> None:
        """Nothing is served until `plug_in`; nbdkit's complaints go to `log`."""
        self.path = path
        self._log = log
        # Paths of Unix sockets are short: theirs are not in a folder of the run.
        self._temporary = tempfile.TemporaryDirectory(prefix="disk-")
        self.folder = Path(self._temporary.name)
        self._socket = self.folder / "nbd"
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"nbd+unix:///?socket={self._socket}"

    def plug_in(self) -> None:
        """Serve the image."""
        self._socket.unlink(missing_ok=True)
        command = ["nbdkit", "--foreground", "--unix", self._socket, "--filter=cache", "file", self.path]
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(
                tied([*command, "cache=writeback"]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Where the filter keeps what is not flushed.
                env={"TMPDIR": str(self.path.parent), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._socket.exists():
            if self._server.poll() is not None or time.monotonic() >= deadline:
                self.cut()
                raise RuntimeError(f"nbdkit does not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def cut(self) -> None:
        """The power is gone."""
        server, self._server = self._server, None
        if server is not None:
            server.kill()
            server.wait()

    def close(self) -> None:
        """As `cut`, for good; the image stays."""
        self.cut()
        self._temporary.cleanup()
