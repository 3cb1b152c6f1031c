"""The memory of this process, as Linux tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Memory:
    """Resident memory in bytes; None where the system does not tell."""

    resident: int | None
    """Now."""
    peak: int | None
    """At most, so far."""


def memory() -> Memory:
    """The memory of this process."""
    try:
        text = _STATUS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return Memory(None, None)
    kibibytes = {name: int(number) for name, number in re.findall(r"^(Vm\w+):\s+(\d+) kB$", text, flags=re.MULTILINE)}
    resident, peak = (kibibytes[name] * 1024 if name in kibibytes else None for name in ("VmRSS", "VmHWM"))
    return Memory(resident, peak)
