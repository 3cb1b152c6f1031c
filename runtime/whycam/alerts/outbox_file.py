"""The outbox's SQLite file: what is in it, and how it is opened so that a commit outlives the power."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from whycam.alerts.episodes import Episode

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
  id INTEGER PRIMARY KEY, camera TEXT NOT NULL, kind TEXT NOT NULL, created REAL NOT NULL,
  head TEXT NOT NULL, payload BLOB NOT NULL, checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS episodes (
  camera TEXT NOT NULL, label TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (camera, label)
) STRICT;
"""
COLUMNS = "id, camera, kind, created, head, payload, checksum"
# Room for alerts on a full disk: free pages in the database, and a log that is emptied before it would have to grow.
_RESERVE_BYTES = 1 << 20
_LOG_PAGES = 128
FAULTS = (sqlite3.Error, OSError, UnicodeDecodeError)
"""What a file or disk that fails is heard by."""


def connect(path: Path) -> sqlite3.Connection:
    """The database at `path`, made where there is none; raises one of FAULTS."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    # A broken letter is for the row's checksum to find: one row is left out then, and the rest is read.
    db.text_factory = decoded
    try:
        db.execute("PRAGMA journal_mode = WAL")
        # FULL: a commit is on the disk before it returns, also when the power goes.
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        # Some systems overwrite what is deleted: room in the log, and wear, for what was sent in any case.
        db.execute("PRAGMA secure_delete = OFF")
        db.executescript(_SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def decoded(stored: bytes) -> str:
    """`stored` as text; a broken letter is replaced, and so breaks the checksum."""
    return stored.decode(errors="replace")


def later_than_all(path: Path) -> int:
    """An id that is later than those in the file at `path`, even where it cannot be opened."""
    written = [time.time()]
    # The clock may show less than when the file was written: not every device knows the date when it starts.
    for name in (path.name, f"{path.name}-wal"):
        with suppress(OSError):
            written.append(path.with_name(name).stat().st_mtime)
    return int((max(written) + 1) * 1e6)


def make_reserve(db: sqlite3.Connection) -> None:
    """Have free pages in the file, and a log as long as it gets, so that alerts can be written on a full disk."""
    page = db.execute("PRAGMA page_size").fetchone()[0]
    free = db.execute("PRAGMA freelist_count").fetchone()[0]
    if free * page >= _RESERVE_BYTES:
        return
    with suppress(sqlite3.OperationalError), transaction(db):
        db.execute("CREATE TABLE reserve (room BLOB)")
        db.execute("INSERT INTO reserve VALUES (zeroblob(?))", (_RESERVE_BYTES,))
        db.execute("DROP TABLE reserve")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """What is done within is on the disk afterwards, all of it, or none where it raises."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def episodes_in(db: sqlite3.Connection) -> dict[str, tuple[Episode, ...]]:
    """The open episodes by their camera; those that are damaged are told and left out."""
    found: dict[str, tuple[Episode, ...]] = {}
    for camera, label, body in db.execute("SELECT camera, label, body FROM episodes ORDER BY rowid"):
        episode = parsed_episode(body)
        if episode is None:
            log.error("an open episode of camera '%s', %s, is damaged and left out", camera, label)
        else:
            found[camera] = (*found.get(camera, ()), episode)
    return found


def parsed_episode(body: object) -> Episode | None:
    """The episode that was stored as `body`; None where that is damaged."""
    try:
        return Episode.model_validate_json(body) if isinstance(body, str) else None
    except ValidationError:
        return None


def damaged(error: Exception) -> bool:
    """Whether the file itself is broken, not only out of reach."""
    if isinstance(error, sqlite3.OperationalError | sqlite3.IntegrityError):
        return "malformed" in str(error) or str(error).startswith("no such")
    # The words of an error may come from the file.
    return isinstance(error, sqlite3.DatabaseError | UnicodeDecodeError)
