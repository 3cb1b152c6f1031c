"""A Jetson's power mode, which sets how fast its cores and its GPU may run."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/")
_STATUS = "var/lib/nvpmodel/status"


def power_mode(root: Path = _ROOT) -> str | None:
    """The number of the mode of the Jetson whose files are in `root`, as `nvpmodel -q` reads it; None without one."""
    try:
        return (root / _STATUS).read_text(encoding="ascii", errors="replace").strip().rpartition(":")[2]
    except OSError:
        return None
