"""The machine that is examined, as files and commands: this one, or a recorded tree of files."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Where the files are that tell of a machine."""

    root: Path = Path("/")
    architecture: str = field(default_factory=platform.machine)

    @property
    def is_this(self) -> bool:
        """Whether its programs can be run, too."""
        return self.root == Path("/")

    def path(self, absolute: str | Path) -> Path:
        """Where the machine's file `absolute` is."""
        return self.root / str(absolute).lstrip("/")

    def read(self, absolute: str | Path) -> str | None:
        """The file's text, without the zeros and line breaks at its end; None where it cannot be read."""
        try:
            return self.path(absolute).read_text(encoding="utf-8", errors="replace").strip("\0\r\n ")
        except OSError:
            return None

    def glob(self, folder: str, pattern: str) -> list[Path]:
        """What matches in the machine's `folder`, in order."""
        return sorted(self.path(folder).glob(pattern))

    def output(self, *command: str, seconds: float = 5.0) -> str | None:
        """What a command prints; None where it is not there, fails or takes longer, and on a recorded machine."""
        if not self.is_this:
            return None
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds, check=True, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
            return None
        return done.stdout.strip()


def installed_packages(machine: Machine) -> dict[str, str]:
    """Version by name of the Debian packages that are installed."""
    found = {}
    for paragraph in (machine.read("/var/lib/dpkg/status") or "").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[:1] != " ")
        if fields.get("Status", "").endswith(" installed") and {"Package", "Version"} <= fields.keys():
            found[fields["Package"]] = fields["Version"]
    return found
