"""The machine: how warm it is, and what the service takes of it."""

from __future__ import annotations

import os
from pathlib import Path

_ZONES = "sys/class/thermal"
_ROOT = Path("/")


def temperatures(root: Path = _ROOT) -> dict[str, float]:
    """Degrees Celsius by thermal zone of the machine whose files are in `root`; empty where it tells none."""
    found: dict[str, float] = {}
    for zone in sorted((root / _ZONES).glob("thermal_zone*")):
        try:
            name = (zone / "type").read_text().strip()
            found[name] = int((zone / "temp").read_text()) / 1000
        except (OSError, ValueError):  # noqa: PERF203 - a zone whose part is switched off cannot be read
            continue
    return found


def throttling_temperatures(root: Path = _ROOT) -> dict[str, float]:
    """By thermal zone: from how many degrees Celsius on the kernel lowers clocks; without zones that do not tell."""
    found: dict[str, float] = {}
    for zone in sorted((root / _ZONES).glob("thermal_zone*")):
        try:
            points = [point for point in zone.glob("trip_point_*_type") if point.read_text().strip() == "passive"]
            limits = [int(point.with_name(point.name.replace("_type", "_temp")).read_text()) / 1000 for point in points]
            found[(zone / "type").read_text().strip()] = min(limit for limit in limits if limit > 0)
        except (OSError, ValueError):  # noqa: PERF203 - as above, or no such point
            continue
    return found


def resident_bytes() -> int | None:
    """Resident memory of this process; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
