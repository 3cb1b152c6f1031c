"""The folder that outlives the process: made where there is none, and held by one service at a time."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from whycam.errors import InputError


def make_folder(path: Path) -> None:
    """Make the folder; raises InputError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: the state directory cannot be made ({error.strerror})") from error


def lock_folder(folder: Path) -> IO[bytes] | None:
    """Hold the folder for this process: two services with one outbox would send everything twice.

    It is held until the file that is returned is closed, at the latest with the process; None where the disk takes no
    file. Raises InputError where another process holds it.
    """
    try:
        file = (folder / "lock").open("wb")
    except OSError:
        return None  # a disk that takes nothing is told of, and lived with, elsewhere
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InputError(f"{folder}: another whycam runs on it; stop that, or set another state_directory") from None
    except OSError:
        pass
    return file
