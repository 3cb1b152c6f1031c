"""Programs of another architecture run here: qemu-user, registered with the kernel's binfmt_misc."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

MISC = Path("/proc/sys/fs/binfmt_misc")
REGISTRATION = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
"""Debian's own, of qemu-user-static. Its flag F: the interpreter is opened now, so that it is there in a chroot too."""


def missing() -> str | None:
    """Why aarch64 programs cannot be run here; None where they can."""
    if os.geteuid() != 0:
        return "needs root, to register qemu-user with binfmt_misc"
    if not REGISTRATION.exists():
        return "needs qemu-user-static: apt-get install qemu-user-static"
    try:
        with aarch64():
            return None
    except (OSError, subprocess.CalledProcessError) as error:
        return f"needs binfmt_misc, which cannot be used here: {error}"


@contextlib.contextmanager
def aarch64() -> Iterator[None]:
    """The kernel runs aarch64 programs within the block; what was there before is there afterwards."""
    with contextlib.ExitStack() as stack:
        if not (MISC / "register").exists():
            subprocess.run(["mount", "-t", "binfmt_misc", "none", MISC], check=True, capture_output=True)
            stack.callback(subprocess.run, ["umount", MISC], check=True)
        entry = MISC / "qemu-aarch64"
        if not entry.exists():
            (MISC / "register").write_text(_line())
            stack.callback(entry.write_text, "-1")
        if "flags:" in (said := entry.read_text()) and "F" not in said.split("flags:")[1].split()[0]:
            raise OSError(f"{entry} is registered without the flag F: it does nothing in a chroot")
        yield


def _line() -> str:
    lines = (line.strip() for line in REGISTRATION.read_text().splitlines())
    return next(line for line in lines if line.startswith(":"))
