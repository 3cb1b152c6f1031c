"""The GPU of a machine, without CUDA where that is possible: CUDA may be what is broken."""

from __future__ import annotations

import re
from dataclasses import dataclass

from whycam.doctor.installation import Installation
from whycam.doctor.machine import Machine


@dataclass(frozen=True)
class Gpu:
    """A GPU of NVIDIA's."""

    name: str
    sm: int | None
    """Its compute capability, as in sm_87; None where the driver does not tell."""
    tegra: bool
    """Whether it is a Jetson's."""


def gpu_of(installation: Installation) -> Gpu | None:
    """The machine's first GPU; None where there is none."""
    return installation.once("gpu", lambda: _find(installation))


def _find(installation: Installation) -> Gpu | None:
    if installation.chip is not None:
        return Gpu(installation.chip.name, installation.chip.sm, tegra=True)
    return _card(installation.machine)


def _card(machine: Machine) -> Gpu | None:
    told = machine.output("nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader")
    for line in (told or "").splitlines():
        name, _, capability = line.rpartition(",")
        if re.fullmatch(r"\s*\d+\.\d", capability):
            return Gpu(name.strip(), int(capability.strip().replace(".", "")), tegra=False)
    for file in machine.glob("/proc/driver/nvidia/gpus", "*/information"):
        model = re.search(r"^Model:\s*(.+)$", file.read_text(errors="replace"), re.MULTILINE)
        return Gpu(model[1].strip() if model else "NVIDIA GPU", None, tegra=False)
    return None
