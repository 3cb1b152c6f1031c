"""Bundles that are sent for over MQTT: fetched, and installed by a process of its own, one at a time."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whycam.config.models import Config
from whycam.deployment.fetch import fetch
from whycam.deployment.origins import Origins
from whycam.errors import BundleError, InputError, WhycamError
from whycam.mqtt.commands import InstallReply
from whycam.mqtt.payloads import ErrorPayload, InstallCommand, InstallResult
from whycam.mqtt.requests import RefusedError
from whycam.printable import printable
from whycam.service.compose import Composer
from whycam.service.worker import Worker

log = logging.getLogger(__name__)

INSTALL_SECONDS = 3600.0
"""For installing what was fetched: each precision is tested, and TensorRT builds engines for minutes."""
_NICENESS = 10
_POLL_SECONDS = 0.5
_MOST_WORDS = 300


@dataclass(frozen=True, eq=False)
class _Order:
    command: InstallCommand
    reply: InstallReply


class OverTheAir:
    """Has bundles installed that subscribers send for; the service scores on meanwhile.

    A graph that takes ONNX Runtime down, or memory with it, takes that process along and not the service.
    """

    def __init__(self, config: Config, path: Path, composer: Composer, *, command: Sequence[str] | None = None) -> None:
        """For the device of `config`, read from `path`; `command` takes the place of `whycam bundle install`."""
        self._origins = Origins(config.bundles.over_the_air)
        self._keep_free = config.evidence.min_free_bytes
        self._folder = config.state / "incoming"
        self._composer = composer
        self._command = list(command or _install_command(path, config.bundles.allow_unsigned))
        self._busy = threading.Lock()
        self._stopping = threading.Event()
        self.worker: Worker[_Order] = Worker("bundles", self._obey, 1)
        # What a run left that was killed.
        self._clear()

    def order(self, command: InstallCommand, reply: InstallReply) -> None:
        """Have a bundle installed: `reply` hears at once that it is accepted, and later, from another thread, the end.

        Raises RefusedError where that is off, or another is being installed, and InputError for a place where bundles
        may not come from.
        """
        if not self._origins:
            raise RefusedError("forbidden", "bundles are not installed over the air here; set bundles.over_the_air")
        if command.url is not None:
            self._origins.check_url(command.url)
        else:
            self._origins.open_file(command.file or "").close()
        if self._stopping.is_set() or not self._busy.acquire(blocking=False):
            raise RefusedError("busy", "another bundle is being installed; send it again when that has ended")
        try:
            log.info("a bundle is sent for: %s", printable(command.url or command.file))
            reply(self._composer.install_result(command, "accepted"))
            self.worker.put(_Order(command, reply))
        except BaseException:
            self._busy.release()
            raise

    def stop(self, seconds: float) -> None:
        """Give up what is being done, within `seconds`."""
        self._stopping.set()
        # What was accepted is answered, too.
        self.worker.stop(seconds, finish=True)

    def _obey(self, order: _Order) -> None:
        try:
            answer = self._done(order.command)
        finally:
            # Before the answer: who hears it may send for the next.
            self._clear()
            self._busy.release()
        order.reply(answer)

    def _done(self, command: InstallCommand) -> InstallResult | ErrorPayload:
        archive = self._folder / "bundle.whycam.tar"
        try:
            if self._stopping.is_set():
                raise InputError("given up, the service is stopping")
            self._clear()
            self._folder.mkdir(mode=0o700)
            fetch(
                self._origins,
                archive,
                command.sha256,
                url=command.url,
                file=command.file,
                keep_free=self._keep_free,
                stopped=self._stopping.is_set,
            )
            told = self._install(archive)
        except Exception as error:
            # What was fetched is gone when this is read.
            reason = printable(str(error).replace(str(archive), command.url or command.file or ""))
            log.warning("a bundle was not installed: %s", reason, exc_info=not isinstance(error, WhycamError | OSError))
            return self._composer.error(None, command.request_id, "failed", reason)
        log.info("installed: %s %s (%s)", *(printable(told.get(key)) for key in ("name", "version", "id")))
        return self._composer.install_result(command, "installed", told)

    def _install(self, archive: Path) -> dict[str, Any]:
        words = [*_tied(), *(str(archive) if word == "{archive}" else word for word in self._command)]
        # A session of its own, to be ended whole; nobody else may speak to systemd for the service.
        environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            env=environment,
        )
        _yield_to_scoring(process.pid)
        try:
            out, err = self._ended(process)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode != 0:
            last = next((line for line in reversed(err.splitlines()) if line.strip()), "")
            reason = last.removeprefix("whycam: ")[-_MOST_WORDS * 4 :]
            if process.returncode < 0:
                reason = f"it was ended by signal {-process.returncode}, where it said: {reason}"
            raise BundleError(reason or f"it ended with status {process.returncode}")
        try:
            told = json.loads(out)
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise BundleError("it was installed, but not told what; see `whycam bundle list`")
        return told

    def _ended(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        deadline = time.monotonic() + INSTALL_SECONDS
        while (said := _said(process)) is None:
            if self._stopping.is_set():
                raise InputError("given up, the service is stopping")
            if time.monotonic() > deadline:
                raise InputError(f"installing it did not end within {INSTALL_SECONDS:.0f} s")
        return said

    def _clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _install_command(config: Path, allow_unsigned: bool) -> list[str]:
    """`whycam bundle install`, by this very Python."""
    # Not to import what lies in the folder that the service was started in.
    python = [sys.executable, "-P"] if sys.version_info >= (3, 11) else [sys.executable]
    unsigned = ["--allow-unsigned"] if allow_unsigned else []
    return [*python, "-m", "whycam", "bundle", "install", "{archive}", "-c", str(config), "--json", *unsigned]


def _tied() -> list[str]:
    """Put before a command, it is killed when the service ends, however that is; nothing where there is no setpriv."""
    found = shutil.which("setpriv")
    return [found, "--pdeathsig", "KILL"] if found else []


def _said(process: subprocess.Popen[str]) -> tuple[str, str] | None:
    """What `process` has said on stdout and stderr, once it has ended."""
    try:
        return process.communicate(timeout=_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _yield_to_scoring(pid: int) -> None:
    """Let the cameras go first, and memory, where it runs out, be taken from this process and its children."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PGRP, pid, _NICENESS)
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
