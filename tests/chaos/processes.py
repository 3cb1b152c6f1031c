"""Processes that never outlive the test: they die with the one that started them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SETPRIV = shutil.which("setpriv")


def tied(command: Sequence[object]) -> list[str]:
    """`command`, made to be killed when the thread that starts it ends."""
    words = [str(word) for word in command]
    return [_SETPRIV, "--pdeathsig", "KILL", *words] if _SETPRIV else words


@dataclass(frozen=True)
class Footprint:
    """What a process takes of the machine."""

    rss_bytes: int
    open_files: int
    threads: int


def footprint(pid: int) -> Footprint | None:
    """What `pid` takes now; None where it has ended."""
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return Footprint(int(status["VmRSS"].split()[0]) * 1024, files, int(status["Threads"]))
    except (OSError, KeyError, ValueError):
        return None


@dataclass(frozen=True)
class Death:
    """An end of the service: `wanted` where the test brought it about."""

    status: int
    wanted: bool
    time: float


class Supervisor:
    """Runs a command and starts it again when it dies, as systemd does with Type=notify and Restart=always."""

    def __init__(
        self, command: Sequence[object], log: Path, environment: Mapping[str, str], *, restart_seconds: float = 0.2
    ) -> None:
        """Run `command`, its output appended to `log`, in an environment with `environment` added."""
        self.log_path = log
        self.deaths: list[Death] = []
        self.starts = 0
        self.environment = dict(environment)
        self._command = command
        self._restart_seconds = restart_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._changed = threading.Condition()
        self._wanted_dead = False
        self._held = False
        self._ending = False
        self._ready = False
        self._socket_path = log.with_name("notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._socket_path))
        self._socket.settimeout(0.2)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self, seconds: float = 60) -> None:
        """Start it and wait until it is ready."""
        self._listener.start()
        self._thread.start()
        if not self.wait_ready(seconds):
            raise RuntimeError(f"the service is not ready after {seconds:g} s:\n{self.log[-3000:]}")

    @property
    def pid(self) -> int | None:
        """The process, None between a death and the next start."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def log(self) -> str:
        """What it has written so far, over all starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def crashes(self) -> list[Death]:
        """The deaths that nobody wanted."""
        return [death for death in self.deaths if not death.wanted]

    def wait_ready(self, seconds: float = 60) -> bool:
        """Wait until the running process has said READY=1."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ready, seconds)

    def signal(self, number: signal.Signals, *, deadly: bool = False) -> bool:
        """Send a signal; `deadly` where the process is to end by it. False where it does not run."""
        with self._changed:
            if self.pid is None or self._process is None:
                return False
            if deadly:
                self._wanted_dead = True
                self._ready = False
            self._process.send_signal(number)
            return True

    def kill(self) -> bool:
        """SIGKILL, and back comes the next; returns when it is dead."""
        return self._end(signal.SIGKILL)

    def terminate(self) -> bool:
        """SIGTERM, and back comes the next; returns when it is dead."""
        return self._end(signal.SIGTERM)

    def hold(self) -> None:
        """Start it no more, until `release`."""
        with self._changed:
            self._held = True

    def release(self) -> None:
        """Start it again when it is dead."""
        with self._changed:
            self._held = False
            self._changed.notify_all()

    def stop(self) -> None:
        """End it for good."""
        with self._changed:
            self._ending = self._wanted_dead = True
            self._changed.notify_all()
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread.is_alive():
            self._thread.join(30)
        self._socket.close()

    def _end(self, number: signal.Signals) -> bool:
        deaths = len(self.deaths)
        if not self.signal(number, deadly=True):
            return False
        with self._changed:
            return self._changed.wait_for(lambda: len(self.deaths) > deaths, 30)

    def _run(self) -> None:
        with self.log_path.open("ab") as output:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._ending or not self._held)
                    if self._ending:
                        return
                    self._ready = self._wanted_dead = False
                    environment = {**os.environ, **self.environment, "NOTIFY_SOCKET": str(self._socket_path)}
                    # From this thread, which lives as long as the supervisor: it is whose end ends the process.
                    self._process = subprocess.Popen(
                        tied(self._command), stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment
                    )
                    self.starts += 1
                    self._changed.notify_all()
                status = self._process.wait()
                with self._changed:
                    self.deaths.append(Death(status, self._wanted_dead, time.monotonic()))
                    self._ready = False
                    self._changed.notify_all()
                time.sleep(self._restart_seconds)

    def _listen(self) -> None:
        while True:
            try:
                said = self._socket.recv(65536)
            except TimeoutError:
                if self._ending and not self._thread.is_alive():
                    return
                continue
            except OSError:
                return
            if b"READY=1" in said.split(b"\n"):
                with self._changed:
                    self._ready = not self._wanted_dead
                    self._changed.notify_all()
