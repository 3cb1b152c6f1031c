"""What befalls the broker, and the way to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.faults import Stage, fault
from tests.chaos.small_disk import can_mount, fill, tmpfs
from tests.chaos.stack import Stack
from tests.runtime.mqtt.broker import missing
from tests.runtime.mqtt.proxy import Cut, Packets, Proxy, Spoil, is_puback, is_publish

PART = "broker"


def _away(stack: Stack, leave: Callable[[], None], come_back: Callable[[], None]) -> None:
    """The broker leaves in an anomaly, and another comes and goes while it is away."""
    with stack.anomaly("fight"):
        stack.quiet(stack.random.uniform(0, 1.5))
        leave()
        stack.injected()
        stack.quiet(stack.random.uniform(0.5, 2))
        come_back()
        stack.recover()
    stack.settle()
    leave()
    stack.injected()
    stack.play("fire", 3)
    stack.quiet(3)
    stack.play("fight", 3)
    come_back()
    stack.recover()
    stack.settle()


@fault(PART, "killed (SIGKILL), started again", times=4, quick=1)
def killed(stage: Stage, times: int) -> None:
    with stage.stack() as stack:
        for _ in range(times):
            _away(stack, stack.broker.kill, stack.broker.start)


@fault(PART, "restarted (SIGTERM)", times=2)
def restarted(stage: Stage, times: int) -> None:
    with stage.stack() as stack:
        for _ in range(times):
            _away(stack, stack.broker.stop, stack.broker.start)


@fault(PART, "frozen (SIGSTOP) for 25 s", times=2)
def frozen(stage: Stage, times: int) -> None:
    with stage.stack() as stack:
        for _ in range(times):
            stack.broker.pause()
            stack.injected()
            stack.play("fight", 4)
            stack.quiet(14)
            with stack.anomaly("fire"):
                stack.quiet(7)
                stack.broker.resume()
                stack.recover()
            stack.settle()


class _Saboteur:
    """Cuts connections in the middle of alerts, and swallows what acknowledges them."""

    def __init__(self, proxy: Proxy) -> None:
        self.cut_after: int | None = None
        """Bytes of the next alert that still pass."""
        self.swallow = False
        self.done = threading.Event()
        proxy.to_server = self._to_server
        proxy.to_client = self._to_client

    def _to_server(self) -> Spoil:
        packets = Packets()

        def spoil(data: bytes) -> bytes:
            whole = b""
            for packet in packets.feed(data):
                if self.cut_after is not None and is_publish(packet, b"/alert"):
                    keep, self.cut_after = self.cut_after, None
                    self.done.set()
                    raise Cut(whole + packet[: min(keep, len(packet) - 1)])
                whole += packet
            return whole

        return spoil

    def _to_client(self) -> Spoil:
        packets = Packets()

        def spoil(data: bytes) -> bytes:
            whole = b""
            for packet in packets.feed(data):
                if self.swallow and is_puback(packet):
                    self.done.set()
                else:
                    whole += packet
            return whole

        return spoil


def _sabotaged(stack: Stack) -> _Saboteur:
    saboteur = _Saboteur(stack.proxy)
    stack.proxy.cut()  # what spoils is made with a connection: the next one
    stack.recover()
    stack.row.recovery.clear()
    return saboteur


def _sabotage(stage: Stage, times: int, act: Callable[[Stack, _Saboteur, int], None]) -> None:
    """In anomalies of both kinds in turn, `act` on the connection; its last argument counts the turns."""
    with stage.stack(proxied="broker") as stack:
        saboteur = _sabotaged(stack)
        for turn in range(times):
            saboteur.done.clear()
            with stack.anomaly(("fight", "fire")[turn % 2]):
                act(stack, saboteur, turn)
            stack.settle()


@fault(PART, "connection cut within an alert", times=6, quick=2)
def cut(stage: Stage, times: int) -> None:
    def act(stack: Stack, saboteur: _Saboteur, turn: int) -> None:
        saboteur.cut_after = (1, 30, 200, 10**9)[turn % 4]
        if saboteur.done.wait(30):
            stack.injected()
            stack.recover()

    _sabotage(stage, times, act)


@fault(PART, "acknowledgements swallowed, then cut", times=4, quick=1)
def swallowed(stage: Stage, times: int) -> None:
    def act(stack: Stack, saboteur: _Saboteur, _: int) -> None:
        saboteur.swallow = True
        if saboteur.done.wait(30):
            stack.injected()
        stack.quiet(stack.random.uniform(0, 2))
        saboteur.swallow = False
        stack.proxy.cut()
        stack.recover()

    _sabotage(stage, times, act)


@fault(PART, "wrong password, then the right one", times=2, needs=lambda: missing(passwords=True))
def password(stage: Stage, times: int) -> None:
    right = {"device": "right", "watcher": "sees"}
    wrong = {**right, "device": "other"}
    with stage.stack(passwords=right) as stack:
        for _ in range(times):
            stack.broker.set_passwords(wrong)
            stack.broker.restart()
            stack.injected()
            stack.play("fight", 3)
            stack.quiet(8)
            with stack.anomaly("fire"):
                stack.quiet(2)
                stack.broker.set_passwords(right)
                stack.recover()
            stack.settle()


@fault(PART, "its disk full", times=2, quick=0, needs=can_mount)
def disk_full(stage: Stage, times: int) -> None:
    # Autosave makes it write at each change, so every alert meets the full disk.
    data = stage.directory / "stack" / "broker" / "data"
    with tmpfs(data, "2m"), stage.stack() as stack:
        for _ in range(times):
            filler = fill(data)
            stack.injected()
            with stack.anomaly("fight"):
                stack.wait_seen("fight")
            stack.settle()
            _remove(filler)
            with stack.anomaly("fire"):
                stack.recover()
            stack.settle()


def _remove(path: Path) -> None:
    path.unlink()
    time.sleep(0.1)
