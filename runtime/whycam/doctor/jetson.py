"""NVIDIA's boards: which GPU each has, and which JetPack a release of Jetson Linux belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from whycam.doctor.machine import Machine, installed_packages

_RELEASE_FILE = "/etc/nv_tegra_release"


@dataclass(frozen=True)
class Chip:
    """A system on a chip, as device trees name it."""

    name: str
    sm: int
    """The compute capability of its GPU, as in sm_87."""
    last_jetpack: int | None
    """The last generation of JetPack that it gets; None: it still gets new ones."""


CHIPS = {
    "tegra210": Chip("Nano, TX1", 53, 4),
    "tegra186": Chip("TX2", 62, 4),
    "tegra194": Chip("Xavier", 72, 5),
    "tegra234": Chip("Orin", 87, None),
    "tegra264": Chip("Thor", 110, None),
}

# By the first numbers of Jetson Linux's release; what is newer than the table is told by its generation alone.
_JETPACKS = {
    "35.1": "5.0.2",
    "35.2": "5.1",
    "35.3": "5.1.1",
    "35.4": "5.1.2",
    "35.5": "5.1.3",
    "35.6.0": "5.1.4",
    "35.6": "5.1.5",
    "36.2": "6.0 DP",
    "36.3": "6.0",
    "36.4.0": "6.1",
    "36.4.2": "6.2",
    "36.4.3": "6.2",
    "36.4": "6.2.1",
    "36.5": "6.2.2",
    "38.2": "7.0",
    "38.4": "7.1",
    "39.2": "7.2",
}
_GENERATIONS = {"32": 4, "34": 5, "35": 5, "36": 6, "38": 7, "39": 7}


@dataclass(frozen=True)
class JetsonLinux:
    """The software that NVIDIA makes for its boards, as it is installed here."""

    release: str
    """Of Jetson Linux, such as 36.4.3."""
    core_package: str | None
    """The release by the package nvidia-l4t-core, which brings the drivers."""
    jetpack: str | None
    """Such as 6.2."""
    generation: int | None
    """JetPack's, such as 6."""


def chip_of(machine: Machine) -> Chip | None:
    """The chip of a Jetson; None on another machine."""
    named = machine.read("/proc/device-tree/compatible") or ""
    found = re.search(r"\bnvidia,(tegra\d+)\b", named)
    return CHIPS.get(found[1]) if found else None


def board_of(machine: Machine) -> str | None:
    """What the device tree says that the board is."""
    return machine.read("/proc/device-tree/model") or None


def jetson_linux(machine: Machine) -> JetsonLinux | None:
    """The Jetson Linux of `machine`; None where there is none."""
    text = machine.read(_RELEASE_FILE)
    packages = installed_packages(machine)
    core = packages.get("nvidia-l4t-core", "").partition("-")[0] or None
    told = re.search(r"R(\d+)\b.*?REVISION:\s*([\d.]+)", text or "")
    release = f"{told[1]}.{told[2]}" if told else core
    if release is None:
        return None
    meta = re.match(r"\d+(\.\d+)*", packages.get("nvidia-jetpack", ""))
    jetpack = meta[0] if meta else _jetpack(release)
    return JetsonLinux(release, core, jetpack, _GENERATIONS.get(release.partition(".")[0]))


def _jetpack(release: str) -> str | None:
    numbers = release.split(".")
    names = (".".join(numbers[:count]) for count in (3, 2))
    return next((_JETPACKS[name] for name in names if name in _JETPACKS), None)


def power_modes(machine: Machine) -> dict[int, str]:
    """The board's power modes: name by number."""
    text = machine.read("/etc/nvpmodel.conf") or ""
    found = re.finditer(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", text)
    return {int(one[1]): one[2] for one in found}
