"""The place of one bundle in the store: its versions, the links to them, and the record of what has happened.

Each change is one rename: a version appears whole, a link points to the old one or to the new. What a power cut left
half done is taken back, or finished, at the next use.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from whycam.bundle import Bundle
from whycam.bundle.manifest import MANIFEST
from whycam.bundle.store import file_entry, read_manifest, sync_directory, write_to_disk
from whycam.deployment.record import Event, Record, Return, Trial, Version, settled
from whycam.errors import BundleError, InputError

log = logging.getLogger(__name__)

CURRENT = "current"
CANDIDATE = "candidate"
VERSIONS = "versions"
RECORD = "record.json"
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a bundle must be called to be installed: one folder, one level of a topic."""
_ID = re.compile(r"[0-9a-f]{16}")
EARLIER = 2
"""Versions that are kept beside the current one."""


def id_of(manifest: bytes) -> str:
    """A version's id: the first 16 hex digits of the SHA-256 of the bytes of its manifest."""
    return hashlib.sha256(manifest).hexdigest()[:16]


@dataclass(frozen=True)
class Installed:
    """What is installed of one bundle."""

    name: str
    folder: Path
    current: str | None
    """The id of the version that the link points to; None where it points to none."""
    candidate: str | None
    """The id of the version that is to be tried beside it; None where there is none."""
    record: Record
    """What is true of it; read, and settled by the link."""

    @property
    def trial(self) -> Trial | None:
        """The trial of the current version, while it lasts."""
        return self.record.trial

    @property
    def before(self) -> str | None:
        """The version that a rollback would go to; None where there is none."""
        if self.trial is not None:
            return self.trial.previous
        return None if self.current is None else self.record.before(self.current)

    @property
    def event(self) -> Event | None:
        """What happened last."""
        return self.record.event

    def state_of(self, id: str) -> str:
        """`current`, `on-trial`, `candidate`, `before`, `rolled-back` or `earlier`."""
        if id == self.current:
            return "on-trial" if self.trial is not None else "current"
        if id == self.candidate:
            return "candidate"
        if self.record.was_rolled_back(id):
            return "rolled-back"
        return "before" if id == self.before else "earlier"


class Slot:
    """The place of one bundle in a store. What changes it wants `changing`; looking needs nothing."""

    def __init__(self, folder: Path) -> None:
        """The folder `STORE/NAME`, which need not be there."""
        self.folder = folder
        self.name = folder.name

    @property
    def link(self) -> Path:
        """What cameras name."""
        return self.folder / CURRENT

    @property
    def candidate_link(self) -> Path:
        """What shadows name."""
        return self.folder / CANDIDATE

    def is_named_by(self, bundle: Path, link: str = CURRENT) -> bool:
        """Whether the path `bundle` of a camera's configuration is this slot's `link`."""
        return bundle.name == link and resolved(bundle.parent) == resolved(self.folder)

    def path_of(self, id: str) -> Path:
        """The version's folder."""
        return self.folder / VERSIONS / id

    @property
    def current(self) -> str | None:
        """The id of the version that the link points to; None where it points to none, or the disk is away for now."""
        try:
            return self._current()
        except OSError:
            return None

    @property
    def candidate(self) -> str | None:
        """The id of the candidate; None where there is none, it has become current, or the disk is away for now."""
        try:
            return self._candidate()
        except OSError:
            return None

    def look(self) -> Installed:
        """What is there now; nothing is changed."""
        # The link may be switched between two looks: then what was read of the record is of another time.
        for _ in range(10):
            current, candidate = self.current, self.candidate
            record = self._read()
            if (current, candidate) == (self.current, self.candidate):
                break
        return Installed(self.name, self.folder, current, candidate, settled(record, current, candidate))

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change the slot alone, for a moment; what was left half done before is taken back or finished first.

        Raises InputError where the store cannot be written to.
        """
        try:
            lock = (self.folder.parent / ".lock").open("ab")
        except OSError as error:
            raise unwritable(self.folder, error) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                self._finish()
                yield
            except OSError as error:
                raise unwritable(self.folder, error) from error

    # -- under `changing` --

    def set_candidate(self, unpacked: Path, id: str, version: str, signed_by: str | None) -> None:
        """Make the whole bundle in the folder `unpacked`, on the same disk, the version `id`, and the candidate."""
        record = self.look().record
        self._place(unpacked, id)
        known = record.versions.get(id)
        if known is None:
            known = Version(version=version, installed=time.time(), order=record.next_order, candidate=True)
        entry = known.model_copy(update={"signed_by": signed_by})
        self._write(record.model_copy(update={"versions": {**record.versions, id: entry}}))
        self._point(self.candidate_link, id)
        # The one before it, where that was never current, is nobody's now.
        self._finish()

    def begin_trial(self, unpacked: Path | None, id: str, version: str, signed_by: str | None) -> None:
        """Make the whole bundle in the folder `unpacked`, on the same disk, the version `id`, current, and on trial.

        None: its version is there already, as the candidate, which it is no longer.
        """
        before = self.look()
        if unpacked is not None:
            self._place(unpacked, id)
        record = before.record
        # One that has not held itself is nothing to go back to.
        held = before.trial.previous if before.trial is not None else before.current
        held = record.before(id) if held == id else held
        now = time.time()
        entry = Version(version=version, installed=now, order=record.next_order, previous=held, signed_by=signed_by)
        record = record.model_copy(
            update={
                "versions": {**record.versions, id: entry},
                "trial": Trial(id=id, previous=held, began=now),
            }
        )
        record = record.with_event("installed", id, now, previous=before.current, reason=None)
        self._write(record)
        self._switch(id)
        if before.candidate == id:
            self._drop_candidate()

    def repair(self, unpacked: Path, signed_by: str | None) -> bool:
        """Replace the files of the current version by those of `unpacked`, where they differ; whether any did."""
        current = self.current
        assert current is not None
        changed = self._place(unpacked, current)
        record = self.look().record
        entry = record.versions[current].model_copy(update={"signed_by": signed_by})
        self._write(record.model_copy(update={"versions": {**record.versions, current: entry}}))
        return changed

    def restart_trial(self) -> None:
        """Forget that the trial of the current version has failed, or how often it was begun."""
        record = self.look().record
        if record.trial is not None and (record.trial.failed or record.trial.starts):
            self._write(
                record.model_copy(update={"trial": record.trial.model_copy(update={"starts": 0, "failed": None})})
            )

    def count_start(self, by: int = 1) -> int:
        """A service begins to run the version on trial, or (-1) has ended in order; how often that was now."""
        record = self.look().record
        if record.trial is None:
            return 0
        trial = record.trial.model_copy(update={"starts": max(0, record.trial.starts + by)})
        self._write(record.model_copy(update={"trial": trial}))
        return trial.starts

    def fail_trial(self, reason: str) -> None:
        """The version on trial has failed, and there is nothing to go back to."""
        record = self.look().record
        if record.trial is not None:
            trial = record.trial.model_copy(update={"failed": reason})
            record = record.model_copy(update={"trial": trial})
            self._write(record.with_event("failed", trial.id, time.time(), previous=None, reason=reason))

    def confirm(self, id: str) -> bool:
        """The version `id` has held; False where it is not on trial any more."""
        now = self.look()
        if now.trial is None or now.trial.id != id:
            return False
        record = now.record.model_copy(update={"trial": None})
        self._write(record.with_event("confirmed", id, time.time(), previous=now.trial.previous, reason=None))
        return True

    def go_back(self, reason: str, to: str | None = None) -> Event:
        """Switch back to the version before the current one, or to `to`; what has happened.

        Raises InputError where there is no such version.
        """
        now = self.look()
        if now.current is None:
            raise InputError(f"bundle '{self.name}': nothing is installed in {self.folder}")
        target = to or now.before
        if target is None:
            raise InputError(f"bundle '{self.name}': there is nothing to go back to, no version is installed before it")
        if target == now.current:
            raise InputError(f"bundle '{self.name}': {target} is current already")
        if target == now.candidate:
            raise InputError(f"bundle '{self.name}': {target} is a candidate; `whycam bundle promote` makes it current")
        if target not in now.record.versions or not (self.path_of(target) / MANIFEST).is_file():
            there = ", ".join(sorted(id for id in now.record.versions if id != now.current)) or "none"
            raise InputError(
                f"bundle '{self.name}': version {target} is not installed; beside the current one: {there}"
            )
        back = Return(from_id=now.current, to_id=target, reason=reason, time=time.time())
        going = now.record.model_copy(update={"going_back": back})
        self._write_if_there_is_room(going)
        self._switch(target)
        record = settled(going, target)
        if not self._write_if_there_is_room(record):
            log.error("%s: the disk is full, why the version was left is lost: %s", self.folder / RECORD, reason)
        event = record.event
        assert event is not None
        return event

    def prune(self) -> list[str]:
        """Remove all but the current version, the one before, as many more as make up `EARLIER`, and the candidate.

        Returns their ids.
        """
        now = self.look()
        record = now.record
        kept = {id for id in (now.current, now.before) if id is not None}
        newest = sorted(record.versions, key=lambda id: record.versions[id].order, reverse=True)
        for id in newest:
            if len(kept) <= EARLIER and id != now.candidate:
                kept.add(id)
        if now.candidate is not None:
            kept.add(now.candidate)
        gone = [id for id in newest if id not in kept]
        if gone:
            self._write(
                record.model_copy(update={"versions": {id: record.versions[id] for id in newest if id in kept}})
            )
            self._clear(kept)
        return gone

    def _place(self, unpacked: Path, id: str) -> bool:
        """Let `unpacked` be the version `id`; where that is there, file by file; whether anything has changed."""
        path = self.path_of(id)
        changed = False
        if path.is_dir():
            # Each file is replaced whole by one with the content that the manifest names: no mixture is wrong.
            for file in sorted(unpacked.iterdir()):
                if not (path / file.name).is_file() or file_entry(path / file.name) != file_entry(file):
                    file.replace(path / file.name)
                    changed = True
            sync_directory(path)
            shutil.rmtree(unpacked)
        else:
            unpacked.replace(path)
            changed = True
        sync_directory(path.parent)
        return changed

    def _finish(self) -> None:
        """Take back, or finish, what a power cut has left half done."""
        stored = self._stored()
        record = self._found() if stored is None else stored
        if stored is None and (self.folder / RECORD).exists():
            log.error("%s: cannot be read, what it said is lost", self.folder / RECORD)
        back = record.going_back
        if back is not None and self._current() != back.to_id and (self.path_of(back.to_id) / MANIFEST).is_file():
            self._switch(back.to_id)
        current, candidate = self._current(), self._candidate()
        true = settled(record, current, candidate)
        if true != (stored or Record()):
            self._write(true)
        if candidate is None:
            self._drop_candidate()
        kept = set(true.versions) | {id for id in (current, candidate) if id is not None}
        self._clear(kept)

    def _clear(self, kept: set[str]) -> None:
        """Remove every version that is not among `kept`, and drafts; not what an installation at work unpacks."""
        for draft in (
            *(self.folder / f".{link}.part" for link in (CURRENT, CANDIDATE)),
            self.folder / f"{RECORD}.part",
        ):
            draft.unlink(missing_ok=True)
        folder = self.folder / VERSIONS
        if not folder.is_dir():
            return
        for path in folder.iterdir():
            gone = path
            if path.name not in kept and not path.name.startswith("."):
                # Under another name first: half a version must not look like one.
                gone = path.with_name(f".{path.name}.gone")
                shutil.rmtree(gone, ignore_errors=True)
                path.replace(gone)
            if gone.name.endswith(".gone"):
                shutil.rmtree(gone, ignore_errors=True)

    def _switch(self, id: str) -> None:
        self._point(self.link, id)

    def _point(self, link: Path, id: str) -> None:
        draft = link.with_name(f".{link.name}.part")
        draft.unlink(missing_ok=True)
        draft.symlink_to(Path(VERSIONS, id))
        draft.replace(link)
        sync_directory(self.folder)

    def _drop_candidate(self) -> None:
        if self.candidate_link.is_symlink():
            self.candidate_link.unlink()
            sync_directory(self.folder)

    def _current(self) -> str | None:
        """As `current`; raises OSError where the disk does not tell: what nobody points to is removed."""
        return self._version_at(self.link)

    def _candidate(self) -> str | None:
        """As `candidate`; raises OSError where the disk does not tell."""
        id = self._version_at(self.candidate_link)
        # Promoted, and the power was cut before the link was gone.
        return None if id is None or id == self._current() else id

    def _version_at(self, link: Path) -> str | None:
        if not link.is_symlink():
            return None
        target = link.readlink()
        id = target.name
        known = target == Path(VERSIONS, id) and _ID.fullmatch(id) is not None
        return id if known and (self.path_of(id) / MANIFEST).is_file() else None

    def _read(self) -> Record:
        stored = self._stored()
        return self._found() if stored is None else stored

    def _stored(self) -> Record | None:
        """The record on the disk; None where there is none, or it is damaged."""
        try:
            return Record.model_validate_json((self.folder / RECORD).read_bytes())
        except (OSError, ValidationError):
            return None

    def _found(self) -> Record:
        """A record of the versions that are there, where it is lost."""
        folder = self.folder / VERSIONS
        there = [path for path in folder.iterdir() if _ID.fullmatch(path.name)] if folder.is_dir() else []
        times = {path: path.stat().st_mtime for path in there if _is_whole(path)}
        candidate = self._candidate()
        return Record(
            versions={
                path.name: Version(
                    version=Bundle.open(path).manifest.version,
                    installed=times[path],
                    order=order,
                    candidate=path.name == candidate,
                )
                for order, path in enumerate(sorted(times, key=lambda path: times[path]))
            }
        )

    def _write(self, record: Record) -> None:
        draft = self.folder / f"{RECORD}.part"
        write_to_disk(draft, (record.model_dump_json(indent=2) + "\n").encode())
        draft.replace(self.folder / RECORD)
        sync_directory(self.folder)

    def _write_if_there_is_room(self, record: Record) -> bool:
        """Whether there was. A link takes none, and decides: a full disk must not keep a bad version in its place."""
        try:
            self._write(record)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return False
            raise
        return True


def _is_whole(version: Path) -> bool:
    """Whether a version's folder holds the manifest that its name is of."""
    try:
        return id_of(read_manifest(version)) == version.name and Bundle.open(version) is not None
    except BundleError:
        return False


def slot_of(bundle: Path) -> Slot | None:
    """The slot whose `current` link a camera names as its bundle; None where the path is another, or leads nowhere."""
    # Not by the way that the path takes: two cameras may name one slot in two ways.
    slot = Slot(resolved(bundle.parent))
    named = bundle.name == CURRENT and NAME.fullmatch(slot.name) is not None
    return slot if named and slot.current is not None else None


def resolved(path: Path) -> Path:
    """`path` without links; as it is, absolute, where they lead in a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def bundle_name(bundle: Path) -> str:
    """What to call the bundle at a path before it is open: `current` says nothing."""
    return bundle.parent.name if bundle.name in (CURRENT, CANDIDATE) else bundle.name


def is_free_place(bundle: Path) -> bool:
    """Whether a shadow names the candidate of a slot, and there is none now: nothing is wrong, one may come."""
    return bundle.name == CANDIDATE and not bundle.is_symlink() and not bundle.exists()


def unwritable(path: Path, error: OSError) -> InputError:
    """That the store takes nothing at `path`."""
    return InputError(f"{path}: cannot be written ({error.strerror or error}); make room or allow it")
