"""Users of a machine and what they may do, by its files: so that root can tell what the service may."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from whycam.doctor.machine import Machine


@dataclass(frozen=True)
class User:
    """Somebody on the machine."""

    name: str
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()
    """Those beside `gid`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What its processes are given in addition."""

    def may(self, path: Path, wanted: int) -> bool:
        """Whether it may do `wanted` (os.R_OK, os.W_OK, os.X_OK or several) with `path`, and reach it.

        By owner, group and mode; access lists and read-only disks are not asked. Raises OSError where there is none.
        """
        resolved = path.resolve(strict=True)
        return all(self._may(folder, os.X_OK) for folder in resolved.parents) and self._may(resolved, wanted)

    def _may(self, path: Path, wanted: int) -> bool:
        if self.uid == 0:
            return True
        found = path.stat()
        shift = 6 if found.st_uid == self.uid else 3 if self.is_in(found.st_gid) else 0
        return stat.S_IMODE(found.st_mode) >> shift & wanted == wanted

    def is_in(self, gid: int) -> bool:
        """Whether the group is one of its groups."""
        return gid == self.gid or gid in self.groups


def groups_of(machine: Machine) -> dict[str, tuple[int, frozenset[str]]]:
    """The machine's groups: number and members by name."""
    found = {}
    for line in (machine.read("/etc/group") or "").splitlines():
        parts = line.split(":")
        if len(parts) >= 4 and parts[2].isdecimal():
            found[parts[0]] = (int(parts[2]), frozenset(filter(None, parts[3].split(","))))
    return found


def user_named(machine: Machine, name: str) -> User | None:
    """The user `name`; None where there is none."""
    for line in (machine.read("/etc/passwd") or "").splitlines():
        parts = line.split(":")
        if len(parts) >= 4 and parts[0] == name and parts[2].isdecimal() and parts[3].isdecimal():
            groups = frozenset(gid for gid, members in groups_of(machine).values() if name in members)
            return User(name, int(parts[2]), int(parts[3]), groups)
    return None


def this_user() -> User:
    """Who examines."""
    import pwd

    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = str(os.geteuid())
    return User(name, os.geteuid(), os.getegid(), frozenset(os.getgroups()))
