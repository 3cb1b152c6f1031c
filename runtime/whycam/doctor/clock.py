"""The clock: alerts carry its time, and certificates are judged by it."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from whycam.doctor.installation import Installation
from whycam.doctor.report import Finding, failure, ok, warning

_YEARS = range(2025, 2100)
_UNSYNCHRONISED = 0x40
"""STA_UNSYNC of adjtimex(2)."""
_SYNCHRONISE = "sudo timedatectl set-ntp true"


class _Timex(ctypes.Structure):
    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        # More than is used; the kernel writes it all.
        ("rest", ctypes.c_byte * 512),
    ]


def clock(installation: Installation) -> Iterator[Finding]:
    """Whether the time can be true, and somebody keeps it so."""
    if installation.machine.is_this:
        yield judge_clock(time.time(), kernel_synchronised())


def judge_clock(now: float, synchronised: bool | None) -> Finding:
    """What to say of a clock that shows `now`, seconds since the epoch, and of whether the kernel holds it for true."""
    moment = datetime.fromtimestamp(now, timezone.utc)
    told = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    facts: dict[str, Any] = {"time": moment.isoformat(timespec="seconds"), "synchronised": synchronised}
    if moment.year not in _YEARS:
        why = f"{told} cannot be: certificates look invalid, and alerts carry a wrong time"
        return failure("system.clock", why, f"{_SYNCHRONISE}    # or: sudo date -s 'YYYY-MM-DD HH:MM:SS'", **facts)
    if synchronised is None:
        return warning("system.clock", f"{told}; the kernel does not tell whether it is synchronised", **facts)
    if not synchronised:
        return warning("system.clock", f"{told}, synchronised with no time server: it drifts", _SYNCHRONISE, **facts)
    return ok("system.clock", f"{told}, synchronised", **facts)


def kernel_synchronised() -> bool | None:
    """Whether a time service keeps the kernel's clock; None where the kernel does not tell."""
    told = _Timex()
    try:
        result = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(told))
    except (OSError, AttributeError):
        return None
    return None if result < 0 else not told.status & _UNSYNCHRONISED
