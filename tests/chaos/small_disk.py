"""Small disks that can be filled, and one that turns read-only; in the mount namespace of the test's own process."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path


@functools.cache
def can_mount() -> str | None:
    """Why nothing can be mounted here; None where it can."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return "needs root, to mount a small disk"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tmpfs(Path(folder), "1m"):
                return None
        except subprocess.CalledProcessError:
            return "needs the right to mount a small disk"


@functools.cache
def can_loop() -> str | None:
    """Why no file can be mounted as a disk here; None where it can."""
    if reason := can_mount():
        return reason
    if shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
        return "needs mkfs.ext4"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with ext4(Path(folder) / "disk", Path(folder) / "there", "8M"):
                return None
        except subprocess.CalledProcessError:
            return "needs loop devices"


@contextlib.contextmanager
def tmpfs(at: Path, size: str) -> Iterator[None]:
    """A disk of `size` in memory."""
    at.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", at)
    try:
        yield
    finally:
        _run("umount", "--lazy", at)


@contextlib.contextmanager
def ext4(image: Path, at: Path, size: str) -> Iterator[None]:
    """A disk of `size` in the file `image`."""
    at.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(int(size.rstrip("M")) << 20)
    _run("mkfs.ext4", "-q", "-F", image)
    _run("mount", "-o", "loop", image, at)
    try:
        yield
    finally:
        _run("umount", "--lazy", at)


def abort(at: Path) -> None:
    """Make the ext4 at `at` read-only under those who write to it, as the kernel does at a fault of the disk."""
    _run("mount", "-o", "remount,abort", at)


def mend(image: Path, at: Path) -> None:
    """Check the disk after `abort`, and mount it again; nobody may use it."""
    _run("umount", at)
    subprocess.run(["e2fsck", "-fy", str(image)], capture_output=True, check=False, env=_environment())
    _run("mount", "-o", "loop", image, at)


def fill(folder: Path, leave: int = 0) -> Path:
    """Write a file into `folder` until there is no room but `leave` bytes."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 512, 1):
            while _written(file, size):
                pass
        if leave:
            file.truncate(max(file.tell() - leave, 0))
    return filler


def _written(file: RawIOBase, size: int) -> bool:
    try:
        file.write(b"x" * size)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True, env=_environment())


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
