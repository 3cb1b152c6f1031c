"""The machine that was measured: figures mean nothing without it."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from whycam.libraries import jetson_release
from whycam.power_mode import power_mode

_CPU = Path("/proc/cpuinfo")
_BOARD = Path("/proc/device-tree/model")
_MEMORY = Path("/proc/meminfo")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True)
class Machine:
    """Hardware and libraries; None for what the system does not tell."""

    processor: str
    cores: int | None
    usable_cores: int
    """Those that this process may run on."""
    memory: int | None
    """In bytes."""
    governor: str | None
    """What sets the processor's clock: `performance`, `powersave`, ..."""
    power_mode: str | None
    """A Jetson's, as `nvpmodel -q` numbers it."""
    jetson: str | None
    """The release of Jetson Linux."""
    system: str
    python: str
    onnxruntime: str
    opencv: str
    execution_providers: tuple[str, ...]
    """ONNX Runtime's names of those that it was built with."""


def this_machine() -> Machine:
    """What this machine tells of itself; needs ONNX Runtime and OpenCV."""
    import cv2
    import onnxruntime

    total = re.search(r"^MemTotal:\s+(\d+) kB", _read(_MEMORY) or "", flags=re.MULTILINE)
    return Machine(
        processor=_processor(),
        cores=os.cpu_count(),
        usable_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory=int(total[1]) * 1024 if total else None,
        governor=_read(_GOVERNOR),
        power_mode=power_mode(),
        jetson=jetson_release() or None,
        system=platform.platform(),
        python=platform.python_version(),
        onnxruntime=onnxruntime.__version__,
        opencv=cv2.__version__,
        execution_providers=tuple(onnxruntime.get_available_providers()),
    )


def _processor() -> str:
    model = re.search(r"^model name\s*:\s*(.+)$", _read(_CPU) or "", flags=re.MULTILINE)
    # ARM's kernels name no processor there; a board's firmware names the board.
    return model[1].strip() if model else _read(_BOARD) or platform.processor() or platform.machine()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None
