"""What systemd is told, and asks for: sd_notify(3) and sd_watchdog_enabled(3), without a library.

Nothing happens where the service was not started by systemd, and nothing here raises: a service must not end because
nobody listens to how it is doing.
"""

from __future__ import annotations

import logging
import os
import socket
import time

log = logging.getLogger(__name__)

_SEND_SECONDS = 2.0
"""The longest that systemd is waited for; it may be busy, and the service has cameras to watch."""


def ready(status: str) -> None:
    """The service has started, or has reloaded."""
    _notify("READY=1", _status_line(status))


def status(text: str) -> None:
    """What the service is doing, in one line; `systemctl status` shows it."""
    _notify(_status_line(text))


def watchdog(status: str | None = None) -> None:
    """The service is alive; with `status`, also what it is doing."""
    _notify("WATCHDOG=1", *([] if status is None else [_status_line(status)]))


def stopping() -> None:
    """The service is stopping."""
    _notify("STOPPING=1")


def reloading() -> None:
    """The service is reloading; `ready` says when it has."""
    _notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def extend_timeout(seconds: float) -> None:
    """Ask for `seconds` from now before starting or stopping is held to have failed."""
    _notify(f"EXTEND_TIMEOUT_USEC={max(round(seconds * 1e6), 1)}")


def watchdog_seconds() -> float | None:
    """Within how many seconds `watchdog` must be called each time; None where nobody watches this process."""
    try:
        microseconds = int(os.environ["WATCHDOG_USEC"])
        watched = int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except (KeyError, ValueError):
        return None
    # The variables are inherited: a program that the watched one has started is not watched itself.
    return microseconds / 1e6 if microseconds > 0 and watched == os.getpid() else None


def beat_seconds() -> float:
    """How often a thread that calls `watchdog` looks around."""
    return min(watchdog_seconds() or 2.0, 2.0) / 2


def _status_line(text: str) -> str:
    # A line break would begin another variable.
    return "STATUS=" + " ".join(text.split())


def _notify(*lines: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    # An abstract socket's name is written with an @ for its first byte, zero.
    name = os.fsencode(address)
    name = b"\0" + name[1:] if address.startswith("@") else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.settimeout(_SEND_SECONDS)
            out.sendto("\n".join(lines).encode("utf-8", "replace"), name)
    except OSError as error:
        log.debug("systemd was not told (%s): %s", error.strerror or type(error).__name__, lines[0])
