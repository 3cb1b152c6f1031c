"""What befalls the camera, and the way to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.chaos.faults import Stage, fault
from tests.chaos.stack import Stack
from tests.runtime.scripted_camera import ScriptedCamera

PART = "camera"
CLEARED_AS_LOST = frozenset({"signal-lost"})
"""A camera that is away for longer than `signal_lost_seconds` ends its episodes; what it then shows is another."""


def _away(
    stage: Stage,
    label: str,
    leave: Callable[[ScriptedCamera], None],
    come_back: Callable[[ScriptedCamera], None],
    seconds: Sequence[float],
) -> None:
    """The camera leaves in an anomaly, once for each of these times away."""
    with stage.stack(may_split=CLEARED_AS_LOST) as stack:
        for away in seconds:
            with stack.anomaly(label):
                stack.quiet(1)
                leave(stack.camera)
                stack.injected()
                stack.quiet(away)
                come_back(stack.camera)
                stack.recover()
            stack.settle()


@fault(PART, "server killed, started again", times=4, quick=1)
def killed(stage: Stage, times: int) -> None:
    seconds = [(2, 8, 20, 40)[turn % 4] for turn in range(times)]
    _away(stage, "fight", ScriptedCamera.kill, ScriptedCamera.start, seconds)


@fault(PART, "stalled (SIGSTOP), nothing closed", times=4, quick=1)
def stalled(stage: Stage, times: int) -> None:
    seconds = [(5, 2, 12, 30)[turn % 4] for turn in range(times)]
    _away(stage, "fire", ScriptedCamera.pause, ScriptedCamera.resume, seconds)


@fault(PART, "resolution changed midway", times=4)
def resolution(stage: Stage, times: int) -> None:
    with stage.stack(may_split=CLEARED_AS_LOST) as stack:
        for turn in range(times):
            with stack.anomaly("fight"):
                stack.quiet(1.5)
                stack.camera.size(*((320, 240), (160, 120))[turn % 2])
                stack.injected()
                stack.recover()
            stack.settle()


@fault(PART, "garbage between its bytes", times=6)
def garbage(stage: Stage, times: int) -> None:
    with stage.stack(proxied="camera", may_split=CLEARED_AS_LOST) as stack:
        noise = _Noise(stack)
        for turn in range(times):
            with stack.anomaly(("fight", "fire")[turn % 2]):
                stack.quiet(1)
                noise.bytes_left = (10, 1000, 100_000)[turn % 3]
                stack.injected()
                stack.quiet(1)
                noise.bytes_left = 0
                stack.recover()
            stack.settle()


class _Noise:
    """Random bytes in place of a camera's."""

    def __init__(self, stack: Stack) -> None:
        self.bytes_left = 0
        self._random = stack.random
        stack.proxy.to_client = lambda: self._spoil
        stack.proxy.cut()
        stack.recover()
        stack.row.recovery.clear()

    def _spoil(self, data: bytes) -> bytes:
        size = min(self.bytes_left, len(data))
        self.bytes_left -= size
        return self._random.randbytes(size) + data[size:]


@fault(PART, "1 frame per second", times=2)
def slow(stage: Stage, times: int) -> None:
    """Too slow for the model's window, which must be told; what goes on is raised when the frames are back."""
    with stage.stack(may_split=CLEARED_AS_LOST) as stack:
        for _ in range(times):
            stack.camera.rate(1)
            stack.injected()
            if stack.wait_state("gate", "cold", 20) is None:
                stack.row.problems.append("at 1 frame per second, the camera's state is not cold")
            with stack.anomaly("fight"):
                stack.quiet(4)
                stack.camera.rate(10)
                stack.recover()
            stack.settle()


@fault(PART, "120 frames per second", times=2)
def fast(stage: Stage, times: int) -> None:
    with stage.stack(may_split=CLEARED_AS_LOST) as stack:
        for _ in range(times):
            stack.camera.rate(120)
            stack.injected()
            with stack.anomaly("fire"):
                stack.recover()
            stack.settle()
            stack.play("fight", 4)
            stack.settle()
            stack.camera.rate(10)
            with stack.anomaly("fire"):
                stack.recover()
            stack.settle()


def faketime() -> Path | None:
    """The library that fakes the clock, for programs with threads."""
    for folder in Path("/usr/lib").glob("*/faketime"):
        if (folder / "libfaketimeMT.so.1").exists():
            return folder / "libfaketimeMT.so.1"
    return None


def no_faketime() -> str | None:
    return None if faketime() and shutil.which("faketime") else "needs libfaketime (Debian: faketime)"


@fault(PART, "clock set back an hour, and forth", times=4, needs=no_faketime)
def clock_set(stage: Stage, times: int) -> None:
    offset, environment = _clock(stage)
    with stage.stack(environment=environment, clock_set=True) as stack:
        for turn in range(times):
            with stack.anomaly(("fight", "fire")[turn % 2]):
                stack.quiet(stack.random.uniform(0, 2))
                offset.write_text(("-3600\n", "+0\n", "+3600\n", "+0\n")[turn % 4])
                stack.injected()
                stack.recover()
            stack.settle()


@fault(PART, "clock set back, and forth, while killed", times=4, needs=no_faketime)
def clock_set_while_killed(stage: Stage, times: int) -> None:
    """As after a power cut on a device whose clock has no battery: an open episode is then from the future."""
    offset, environment = _clock(stage)
    with stage.stack(environment=environment, clock_set=True, may_split=CLEARED_AS_LOST) as stack:
        for turn in range(times):
            with stack.anomaly(("fight", "fire")[turn % 2]):
                known = len(stack.accepted())
                stack.wait_accepted("raised", known)
                stack.service.hold()
                stack.service.kill()
                offset.write_text(("-3600\n", "+0\n", "-100000000\n", "+0\n")[turn % 4])
                stack.service.release()
                stack.injected()
                stack.recover()
            stack.settle()


def _clock(stage: Stage) -> tuple[Path, dict[str, str]]:
    """A file that says how wrong the service's clock is, and the environment that makes it so."""
    offset = stage.directory / "offset"
    offset.write_text("+0\n")
    return offset, {
        "LD_PRELOAD": str(faketime()),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
