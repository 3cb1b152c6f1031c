"""A copy of this machine's file system in which a test may do as root does: nothing of it reaches the machine."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ENTER = """
set -e
mount -t overlay overlay -o "lowerdir=/,upperdir=$UPPER,workdir=$WORK" "$ROOT"
mount --rbind /dev "$ROOT/dev"
mount -t proc proc "$ROOT/proc"
mount -t tmpfs tmpfs "$ROOT/run"
# In a process of its own: the first one of a namespace cannot be killed from within.
chroot "$ROOT" "$@" || exit
exit 0
"""


class Tree:
    """The file system, copied on write; each command runs in it and in a mount namespace of its own."""

    def __init__(self, folder: Path) -> None:
        """Keep what is changed in `folder`."""
        self.changes = folder / "changes"
        self._work, self._root = folder / "work", folder / "root"
        for path in (self.changes, self._work, self._root):
            path.mkdir(parents=True)

    def run(self, *command: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in the tree, as root."""
        places = {"UPPER": str(self.changes), "WORK": str(self._work), "ROOT": str(self._root)}
        return subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", ENTER, "enter", *map(str, command)],
            capture_output=True,
            text=True,
            timeout=300,
            env={"PATH": os.environ["PATH"], **places, **(environment or {})},
        )

    def put(self, folder: Path, path: str) -> str:
        """Copy a folder of the machine to `path` in the tree."""
        shutil.copytree(folder, self.changes / path.lstrip("/"))
        return path

    def copy(self, folder: Path) -> Tree:
        """A further tree, which begins with what is in this one."""
        copied = Tree(folder)
        subprocess.run(["cp", "--archive", f"{self.changes}/.", copied.changes], check=True)
        return copied

    def added(self) -> set[str]:
        """Paths that are in the tree and not on the machine."""
        return {f"/{path.relative_to(self.changes)}" for path in self._changed() if not _on_machine(self.changes, path)}

    def times(self) -> dict[str, int]:
        """When each file was last written, in nanoseconds."""
        return {str(path): path.lstat().st_mtime_ns for path in self._changed() if not path.is_dir()}

    def _changed(self) -> Iterator[Path]:
        for path in self.changes.rglob("*"):
            # A node 0/0 stands for a path that was removed.
            mode = path.lstat()
            if not (stat.S_ISCHR(mode.st_mode) and mode.st_rdev == 0):
                yield path


def _on_machine(changes: Path, path: Path) -> bool:
    return os.path.lexists(Path("/") / path.relative_to(changes))


@cache
def missing() -> str | None:
    """Why there can be no such tree here, for `pytest.skip`; None where there can."""
    if os.geteuid() != 0:
        return "a copy of the file system to install in wants root"
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        return f"no mount namespace here: {tried.stderr.strip()}"
    found = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True
    )
    if found.stdout.strip() != "3.11" or os.uname().machine != "x86_64":
        return "the kit that is tried wants Debian 12 on x86-64"
    return None
