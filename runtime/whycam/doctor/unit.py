"""The service's systemd unit, read from its files: who it runs as, and where its secrets come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from whycam.doctor.machine import Machine

NAME = "whycam.service"
# In the order in which systemd looks; drop-ins of all of them count.
_FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")


@dataclass(frozen=True)
class Unit:
    """What is of interest of the unit."""

    path: Path
    settings: dict[str, tuple[str, ...]]
    """The values of each key of [Service], in order; an empty value takes back those before."""
    enabled: bool
    """Whether it is started at boot."""

    def value(self, key: str) -> str | None:
        """The last value of `key`."""
        values = self.settings.get(key)
        return values[-1] if values else None

    def words(self, key: str) -> list[str]:
        """The words of all values of `key`."""
        return " ".join(self.settings.get(key, ())).split()

    @property
    def state(self) -> Path | None:
        """$STATE_DIRECTORY."""
        folders = self.words("StateDirectory")
        return Path("/var/lib") / folders[0] if folders else None

    @property
    def environment(self) -> dict[str, str]:
        """What Environment= sets."""
        words = [word.strip('"').partition("=") for word in self.words("Environment")]
        return {name: value for name, separator, value in words if separator}

    def credential(self, name: str) -> Path | None:
        """The file that systemd hands to the service as the credential `name`; None where no line says so."""
        for entry in self.settings.get("LoadCredential", ()):
            given, separator, path = entry.partition(":")
            if given == name and separator:
                return Path(path)
        return None


def unit_of(machine: Machine) -> Unit | None:
    """The unit that is installed; None where there is none."""
    path = next((f"{folder}/{NAME}" for folder in _FOLDERS if machine.read(f"{folder}/{NAME}") is not None), None)
    if path is None:
        return None
    settings: dict[str, tuple[str, ...]] = {}
    for text in _texts(machine, path):
        for key, value in _service_lines(text):
            settings[key] = (*settings.get(key, ()), value) if value else ()
    wants = machine.path("/etc/systemd/system/multi-user.target.wants") / NAME
    return Unit(Path(path), settings, wants.is_symlink() or wants.exists())


def _texts(machine: Machine, path: str) -> Iterator[str]:
    yield machine.read(path) or ""
    dropins = {
        dropin.name: dropin for folder in reversed(_FOLDERS) for dropin in machine.glob(folder, f"{NAME}.d/*.conf")
    }
    for _, dropin in sorted(dropins.items()):
        yield dropin.read_text(encoding="utf-8", errors="replace")


def _service_lines(text: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and line[:1] not in "#;":
            key, _, value = line.partition("=")
            yield key.strip(), value.strip()
