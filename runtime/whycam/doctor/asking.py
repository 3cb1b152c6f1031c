"""Questions whose answer may hang or crash, put to a process of its own: native libraries do both.

Where it is root that examines, the process is the service's user: what it may do, the service may.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from whycam.doctor.users import User
from whycam.errors import WhycamError

COMMAND = [sys.executable, "-m", "whycam.doctor.probe"]
_LONGEST = 200
_running: set[subprocess.Popen[str]] = set()


class NoAnswerError(WhycamError):
    """The process ended, or was ended, before it had answered all."""


def ask(what: str, question: Mapping[str, Any], user: User, deadline: float) -> Iterator[dict[str, Any]]:
    """The answers of `whycam.doctor.probe` to `what`, as they come.

    Raises NoAnswerError where they do not end until the `deadline` (monotonic seconds), or the process does not live so
    long.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = _start(what, user, said)
        _running.add(process)
        try:
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps(question))
                process.stdin.close()
            except BrokenPipeError:
                pass  # Why it has ended is told below.
            answers: queue.Queue[str | None] = queue.Queue()
            threading.Thread(target=_read, args=(process, answers), name="doctor answers", daemon=True).start()
            while (line := _next(answers, deadline)) is not None:
                yield json.loads(line)
            status = process.wait(max(deadline - time.monotonic(), 1.0))
            if status != 0:
                raise NoAnswerError(_why(status, said))
        except subprocess.TimeoutExpired:
            raise NoAnswerError("does not end") from None
        finally:
            process.kill()
            process.wait()
            _running.discard(process)


def answer(what: str, question: Mapping[str, Any], user: User, deadline: float) -> dict[str, Any]:
    """The one answer to `what`; raises NoAnswerError as `ask` does."""
    found: dict[str, Any] | None = None
    for each in ask(what, question, user, deadline):
        found = each
    if found is None:
        raise NoAnswerError("gives no answer")
    return found


def can_become(user: User) -> bool:
    """Whether the process can be `user`: who examines is root, and this Python is for all."""
    return os.geteuid() == 0 and user.uid != 0 and user.may(Path(sys.executable), os.X_OK)


def end_all() -> None:
    """End the processes that still run."""
    for process in tuple(_running):
        process.kill()


def _start(what: str, user: User, said: IO[str]) -> subprocess.Popen[str]:
    become: dict[str, Any] = {}
    if can_become(user):
        become = {"user": user.uid, "group": user.gid, "extra_groups": sorted(user.groups)}
    environment = dict(os.environ)
    # From 3.11 on: modules of the folder in which it is called must not take the place of ours.
    environment["PYTHONSAFEPATH"] = "1"
    environment |= user.environment
    return subprocess.Popen(
        [*COMMAND, what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        encoding="utf-8",
        env=environment,
        **become,
    )


def _read(process: subprocess.Popen[str], answers: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            answers.put(line)
    answers.put(None)


def _next(answers: queue.Queue[str | None], deadline: float) -> str | None:
    try:
        return answers.get(timeout=max(deadline - time.monotonic(), 0.001))
    except queue.Empty:
        raise NoAnswerError("no answer in time") from None


def _why(status: int, said: IO[str]) -> str:
    if status < 0:
        try:
            return f"crashes with {signal.Signals(-status).name}"
        except ValueError:
            return f"crashes with signal {-status}"
    said.seek(0)
    lines = [line.strip() for line in said.read().splitlines() if line.strip()]
    return lines[-1][:_LONGEST] if lines else f"ends with status {status}"
