"""Root works in a store as its owner does: what is installed is the service's own, and root unpacks nothing."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path

from whycam.errors import InputError

_CACHE = Path("/var/cache/whycam")
"""The unit's CacheDirectory."""


def act_as_owner(folder: Path) -> str | None:
    """Become, for good, the user whom `folder` belongs to, or the nearest folder above it that is there.

    Whoever may put another thing in its place counts as its owner: a link of the service's user that leads to what is
    root's must not have root work there. The name of that user; None where nothing has changed: where this is not root,
    or the folder is root's, on the whole way. Raises InputError where that cannot be.
    """
    if os.geteuid() != 0:
        return None
    found = _not_roots(folder.absolute())
    if found is None:
        return None
    try:
        user = pwd.getpwuid(found.st_uid)
        name, group, home = user.pw_name, user.pw_gid, user.pw_dir
    except KeyError:
        name, group, home = str(found.st_uid), found.st_gid, "/"
    try:
        # Its further groups too: those of the cameras and the GPU, which the self-test needs.
        if name.isdigit():
            os.setgroups([])
        else:
            os.initgroups(name, group)
        os.setgid(group)
        os.setuid(found.st_uid)
    except OSError as error:
        raise InputError(f"{folder}: belongs to {name}, whom root cannot act as ({error.strerror})") from error
    os.umask(0o022)
    os.environ.update(HOME=home, USER=name, LOGNAME=name)
    os.environ.pop("XDG_CACHE_HOME", None)
    # TensorRT's engines, which take minutes to build, are to lie where the service looks for them.
    if _CACHE.is_dir():
        os.environ.setdefault("WHYCAM_ENGINES", str(_CACHE / "engines"))
    return name


def _not_roots(folder: Path) -> os.stat_result | None:
    """Of the nearest on the way to `folder` that is not root's; of the way that is named, then of where links lead."""
    for way in (folder, Path(os.path.realpath(folder))):
        for path in (way, *way.parents):
            with suppress(FileNotFoundError, NotADirectoryError):
                found = path.lstat()
                if found.st_uid != 0:
                    return found
    return None
