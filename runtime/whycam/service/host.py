"""The machine: how warm it is, and what the service takes of it."""

from __future__ import annotations

import os
from pathlib import Path

_ZONES = Path("/sys/class/thermal")


def temperatures() -> dict[str, float]:
    """Degrees Celsius by thermal zone; empty where the machine tells none."""
    found: dict[str, float] = {}
    for zone in sorted(_ZONES.glob("thermal_zone*")):
        try:
            name = (zone / "type").read_text().strip()
            found[name] = int((zone / "temp").read_text()) / 1000
        except (OSError, ValueError):  # noqa: PERF203 - a zone whose part is switched off cannot be read
            continue
    return found


def resident_bytes() -> int | None:
    """Resident memory of this process; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
