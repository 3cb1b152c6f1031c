"""The platforms that kits are made for: what their devices have, and what their OpenCV is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whycam.errors import InputError

LOCKS = Path(__file__).with_name("locks")


@dataclass(frozen=True)
class Platform:
    """A kind of device, as far as wheels and the installer's checks ask.

    `opencv` is `wheel` where the kit brings OpenCV, and `system` where the device has its own build, with GStreamer.
    """

    name: str
    distribution: str
    machine: str
    python: tuple[int, int]
    glibc: tuple[int, int]
    opencv: str

    @property
    def python_version(self) -> str:
        """As in `3.11`."""
        return "{}.{}".format(*self.python)

    @property
    def glibc_version(self) -> str:
        """As in `2.36`."""
        return "{}.{}".format(*self.glibc)

    @property
    def tags(self) -> list[str]:
        """The platform tags of wheels that run there, the most specific first."""
        oldest = 17  # manylinux2014
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc[1], oldest - 1, -1)]
        older = [f"manylinux_2_{minor}_{self.machine}" for minor in (12, 5)] if self.machine == "x86_64" else []
        return [*tags, f"manylinux2014_{self.machine}", *older, f"linux_{self.machine}"]

    @property
    def lock(self) -> Path:
        """The wheels of its kits, with their hashes; `scripts/lock` renews it."""
        return LOCKS / f"{self.name}.lock"


PLATFORMS = {
    platform.name: platform
    for platform in (
        Platform("jetpack6", "JetPack 6 (Ubuntu 22.04)", "aarch64", (3, 10), (2, 35), "system"),
        Platform("jetpack7", "JetPack 7 (Ubuntu 24.04)", "aarch64", (3, 12), (2, 39), "system"),
        Platform("debian-arm64", "Debian 12", "aarch64", (3, 11), (2, 36), "wheel"),
        Platform("debian-amd64", "Debian 12", "x86_64", (3, 11), (2, 36), "wheel"),
    )
}


def platform_named(name: str) -> Platform:
    """The platform of that name; InputError where there is none."""
    if name not in PLATFORMS:
        raise InputError(f"no kit for '{name}': PLATFORM is one of {', '.join(PLATFORMS)}")
    return PLATFORMS[name]
