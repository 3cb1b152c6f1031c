"""The board, its system, its GPU, and how it is run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from whycam.doctor.gpu import gpu_of
from whycam.doctor.installation import Installation
from whycam.doctor.jetson import Chip, JetsonLinux, board_of, jetson_linux, power_modes
from whycam.doctor.machine import Machine
from whycam.doctor.report import Finding, failure, listed, ok, skipped, warning
from whycam.power_mode import power_mode
from whycam.service.host import temperatures, throttling_temperatures

_LEAST_FREE = 256 << 20
_MARGIN = 5.0
"""Degrees below the one at which the clocks are lowered."""
_HOT = 85.0
"""Where the machine does not tell when it lowers them."""


def device(installation: Installation) -> Iterator[Finding]:
    """The board, and the memory that is free."""
    machine = installation.machine
    name = board_of(machine) or _processor(machine) or machine.architecture
    cores = os.cpu_count() if machine.is_this else None
    sizes = dict(re.findall(r"^(MemTotal|MemAvailable):\s+(\d+) kB", machine.read("/proc/meminfo") or "", re.MULTILINE))
    total, free = (int(sizes[key]) * 1024 if key in sizes else None for key in ("MemTotal", "MemAvailable"))
    told = name + (f", {cores} cores" if cores else "") + (f", {_gib(total)}" if total else "")
    facts: dict[str, Any] = {
        "model": name,
        "architecture": machine.architecture,
        "cores": cores,
        "memory": total,
        "free_memory": free,
    }
    if free is not None and free < _LEAST_FREE:
        why = f"{told}, of which only {free >> 20} MiB are free"
        yield warning("platform.device", why, "ps aux --sort=-rss | head    # then stop what is not needed", **facts)
    else:
        yield ok("platform.device", f"{told}, {_gib(free)} free" if free is not None else told, **facts)


def system(installation: Installation) -> Iterator[Finding]:
    """The distribution and the kernel."""
    machine = installation.machine
    name = re.search(r'^PRETTY_NAME="?(.*?)"?$', machine.read("/etc/os-release") or "", re.MULTILINE)
    kernel = machine.read("/proc/sys/kernel/osrelease")
    told = name[1] if name else "unknown distribution"
    yield ok("platform.system", f"{told}, kernel {kernel}" if kernel else told, name=told, kernel=kernel)


def jetpack(installation: Installation) -> Iterator[Finding]:
    """Which JetPack a Jetson has, and whether its parts belong together."""
    chip, found = installation.chip, jetson_linux(installation.machine)
    if found is None:
        if chip is not None:
            why = f"a Jetson ({chip.name}) without Jetson Linux: no /etc/nv_tegra_release, no package nvidia-l4t-core"
            yield warning("platform.jetpack", why, "sudo apt-get install -y nvidia-l4t-core    # or flash JetPack")
        return
    told = f"{found.jetpack or found.generation or 'unknown'} (Jetson Linux {found.release})"
    facts: dict[str, Any] = {"jetpack": found.jetpack, "generation": found.generation, "jetson_linux": found.release}
    if found.core_package not in (None, found.release):
        why = f"{told}, but its package nvidia-l4t-core is {found.core_package}: an update has not been finished"
        fix = "sudo apt-get --fix-broken install && sudo apt-get dist-upgrade && sudo reboot"
        yield warning("platform.jetpack", why, fix, **facts)
    elif found.generation is not None and found.generation < 6:
        yield _old(told, found, chip, facts)
    else:
        yield ok("platform.jetpack", told, **facts)


def gpu(installation: Installation) -> Iterator[Finding]:
    """The GPU that CUDA could use."""
    found = gpu_of(installation)
    if found is None:
        yield ok("platform.gpu", "none of NVIDIA's: models run on the CPU", name=None, sm=None)
    elif found.sm is None:
        fix = "nvidia-smi    # tells what is wrong with the driver"
        yield warning("platform.gpu", f"{found.name}, but the driver does not tell its architecture", fix)
    else:
        yield ok("platform.gpu", f"{found.name} (sm_{found.sm})", name=found.name, sm=found.sm)


def power(installation: Installation) -> Iterator[Finding]:
    """A Jetson's power mode; which one is right is for who built the device to say."""
    mode = power_mode(installation.machine.root)
    if mode is None or not mode.isdecimal():
        if installation.chip is not None:
            yield skipped("platform.power", "nvpmodel has not said which one: no /var/lib/nvpmodel/status")
        return
    number, modes = int(mode), power_modes(installation.machine)
    name = modes.get(number, "unknown")
    others = [f"{other} ({each})" for each, other in sorted(modes.items()) if each != number]
    told = f"{name} (mode {number})" + (f"; there are {listed(others)}" if others else "")
    yield ok("platform.power", told, mode=number, name=name, modes={str(key): value for key, value in modes.items()})


def temperature(installation: Installation) -> Iterator[Finding]:
    """The warmest part, against the temperature at which clocks are lowered."""
    zones = temperatures(installation.machine.root)
    if not zones:
        return
    limits = throttling_temperatures(installation.machine.root)
    name = max(zones, key=lambda zone: zones[zone] - limits.get(zone, _HOT))
    limit = limits.get(name, _HOT)
    told = f"{zones[name]:.0f} °C at the most ({name}; clocks are lowered at {limit:.0f} °C)"
    if name not in limits:
        told = f"{zones[name]:.0f} °C at the most ({name})"
    if zones[name] >= limit - _MARGIN:
        fix = "sudo jetson_clocks --fan    # and see to dust, sun and the housing" if installation.chip else None
        yield warning(
            "platform.temperature", f"hot: {told}", fix or "sensors    # see to the fan and to dust", celsius=zones
        )
    else:
        yield ok("platform.temperature", told, celsius=zones)


def _old(told: str, found: JetsonLinux, chip: Chip | None, facts: dict[str, Any]) -> Finding:
    why = f"{told}: there is no build of ONNX Runtime with CUDA for it and Python 3.10"
    if chip is not None and chip.last_jetpack is not None:
        cpu = f"{why}, and {chip.name} gets no later JetPack than {chip.last_jetpack}: models run on the CPU"
        return warning("platform.jetpack", cpu, 'providers = ["cpu"]    # in each [[camera]]', **facts)
    fix = "sdkmanager --cli    # on a workstation: flash JetPack 6 or later, see docs/howto/jetson.md"
    return failure("platform.jetpack", why, fix, **facts)


def _processor(machine: Machine) -> str | None:
    model = re.search(r"^model name\s*:\s*(.+)$", machine.read("/proc/cpuinfo") or "", flags=re.MULTILINE)
    return model[1].strip() if model else None


def _gib(size: int | None) -> str:
    return f"{(size or 0) / 2**30:.1f} GiB"
