"""The state directory: alerts wait there, and evidence is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whycam.config.models import MIB, Config
from whycam.doctor.asking import NoAnswerError, answer, can_become
from whycam.doctor.installation import Installation
from whycam.doctor.report import Finding, failure, ok, skipped, warning

_SPARE = 16 * MIB
"""For what else is written: settings, logs of the database."""
_LEAST_FILES = 1000


def state(installation: Installation) -> Iterator[Finding]:
    """Whether the service can write its state directory."""
    folder = installation.state
    if folder is None:
        return
    there = _nearest(folder)
    user = installation.user
    if there != folder:
        if installation.unit is not None and folder == installation.unit.state:
            yield ok("system.state", f"{folder} is not there yet: systemd makes it when the service starts")
            return
        if os.geteuid() not in (0, user.uid):
            yield skipped("system.state", f"{folder} is not there yet", _as_root(installation))
            return
    elif not folder.is_dir():
        yield failure("system.state", f"{folder} is no folder", f"sudo mv {folder} {folder}.old", folder=str(folder))
        return
    if os.geteuid() not in (0, user.uid):
        yield skipped(
            "system.state", f"{user.name} alone can tell whether it can write {folder}", _as_root(installation)
        )
        return
    problem = _write_problem(installation, there)
    if problem is None:
        told = f"{folder} can be written" if there == folder else f"{folder} can be made"
        yield ok("system.state", f"{told} by {user.name}", folder=str(folder))
        return
    read_only = os.statvfs(there).f_flag & os.ST_RDONLY
    fix = f"sudo mount -o remount,rw {_mount(there)}" if read_only else f"sudo chown -R {user.name}: {there}"
    if there != folder:
        fix = f"sudo install -d -m 750 -o {user.name} {folder}"
    yield failure("system.state", f"{user.name} cannot write {there} ({problem})", fix, folder=str(folder))


def _write_problem(installation: Installation, folder: Path) -> str | None:
    user = installation.user
    if user.uid != os.geteuid() and not can_become(user):
        return None if user.may(folder, os.W_OK | os.X_OK) else "permission denied"
    try:
        problem: str | None = answer("write", {"folder": str(folder)}, user, installation.until(0.3))["problem"]
    except NoAnswerError as error:
        return str(error)
    return None if problem is None else problem.lower()


def disk(installation: Installation) -> Iterator[Finding]:
    """Whether there is room for what the configuration allows."""
    folder, config = installation.state, installation.config
    if folder is None or config is None:
        return
    there = _nearest(folder)
    told = os.statvfs(there)
    free = told.f_bavail * told.f_frsize
    outbox = max(config.outbox.max_bytes - _size(folder / "outbox.db"), 0) + _SPARE
    yield judge_disk(config, _mount(there), free, told.f_favail if told.f_files else None, outbox, _used(folder))


def judge_disk(config: Config, mount: Path, free: int, files: int | None, outbox: int, evidence: int) -> Finding:
    """What to say of `free` bytes and `files` on `mount`, where the outbox may still take so many bytes, and evidence
    takes so many now."""
    reserve = config.evidence.min_free_bytes if config.evidence.enabled else 0
    growth = max(config.evidence.max_bytes - evidence, 0) if config.evidence.enabled else 0
    needed = outbox + growth + reserve
    facts: dict[str, Any] = {"mount": str(mount), "free_bytes": free, "free_files": files, "needed_bytes": needed}
    look = f"sudo du -xh --max-depth=2 {mount} | sort -h | tail    # then delete what is not needed"
    told = f"{_size_text(free)} free on {mount}"
    if files is not None and files < _LEAST_FILES:
        return failure("system.disk", f"{told}, but room for {files} more files only", look, **facts)
    if free < outbox:
        why = f"{told}, less than the {_size_text(outbox)} that alerts may need while the broker is away"
        return failure("system.disk", why, look, **facts)
    if free < outbox + reserve:
        why = f"{told}: alerts go without evidence below {_size_text(reserve)}"
        return failure("system.disk", why, look, **facts)
    if free < needed:
        most = max((free - outbox - reserve + evidence) // MIB, 1) * MIB
        why = f"{told}, {_size_text(needed)} are allowed to outbox and evidence"
        return warning("system.disk", why, f"max_bytes = {most}    # in [evidence]", **facts)
    return ok("system.disk", f"{told}; outbox and evidence may take {_size_text(needed)} of it", **facts)


def _as_root(installation: Installation) -> str:
    return f"sudo whycam doctor -c {installation.path}"


def _nearest(folder: Path) -> Path:
    """The folder, or the innermost one around it that is there."""
    folder = folder.absolute()
    return next((one for one in (folder, *folder.parents) if os.path.lexists(one)), Path("/"))


def _mount(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.is_mount())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _used(folder: Path) -> int:
    """Bytes of the evidence."""
    return sum(_size(Path(where) / name) for where, _, names in os.walk(folder / "evidence") for name in names)


def _size_text(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / MIB:.0f} MiB"
