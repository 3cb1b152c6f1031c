"""`python walls.py UNIT PROGRAM ARGUMENTS...`: run a program behind the walls of a systemd unit that need no systemd.

These are its system-call filter, its address families and MemoryDenyWriteExecute=, by libseccomp and prctl(2).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | 1  # with EPERM, as SystemCallErrorNumber= says
EQUAL = 4
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}


class Comparison(ctypes.Structure):
    """What libseccomp calls `struct scmp_arg_cmp`."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def directives(unit: Path) -> dict[str, list[str]]:
    """The values of each directive of a unit's [Service]."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in unit.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def system_calls(filters: list[str]) -> set[str]:
    """The names that SystemCallFilter= lets through: the first line allows, those with a tilde take back."""
    allowed: set[str] = set()
    for line in filters:
        for word in line.removeprefix("~").split():
            names = _expand(word)
            allowed = allowed - names if line.startswith("~") else allowed | names
    return allowed


def _expand(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True)
    words = [line.strip() for line in listed.stdout.splitlines()[1:]]
    return {name for inner in words if inner and not inner.startswith("#") for name in _expand(inner)}


def enclose(calls: set[str], families: list[str]) -> None:
    """Refuse this process and all that it starts every system call but `calls`, and sockets but of `families`."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(Comparison),
    )
    library.seccomp_load.argtypes = (ctypes.c_void_p,)
    context = library.seccomp_init(REFUSE)
    for name in sorted(calls):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # another architecture's
            continue
        if name == "socket":
            for family in families:
                comparison = Comparison(0, EQUAL, FAMILIES[family], 0)
                _check(
                    "seccomp_rule_add",
                    library.seccomp_rule_add_array(context, ALLOW, number, 1, ctypes.byref(comparison)),
                )
        else:
            _check("seccomp_rule_add", library.seccomp_rule_add_array(context, ALLOW, number, 0, None))
    _check("seccomp_load", library.seccomp_load(context))


def refuse_executable_memory() -> None:
    """As MemoryDenyWriteExecute=, on Linux 6.3 and later."""
    _check("prctl", ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0))


def _check(what: str, status: int) -> None:
    if status != 0:
        raise OSError(f"{what}: status {status}")


def main() -> None:
    said = directives(Path(sys.argv[1]))
    calls = system_calls(said["SystemCallFilter"])
    families = said["RestrictAddressFamilies"][0].split()
    if said["MemoryDenyWriteExecute"] == ["yes"]:
        refuse_executable_memory()
    enclose(calls, families)
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
