"""What can be read of an outbox whose file is damaged is carried over into a new one."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from whycam.alerts.outbox_file import COLUMNS, connect, decoded, parsed_episode, transaction
from whycam.alerts.outbox_rows import unpacked

log = logging.getLogger(__name__)


def salvage(path: Path, damage: Exception) -> sqlite3.Connection:
    """Set the damaged database aside, and carry over what can be read of it into a new one."""
    rows, episodes = _readable(path)
    aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(aside.with_name(aside.name + suffix))
    db = connect(path)
    with transaction(db):
        for values in rows:
            db.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        for values in episodes:
            db.execute("INSERT OR IGNORE INTO episodes VALUES (?, ?, ?)", values)
    log.error("%s: damaged (%s); %d messages carried over, kept as %s", path, damage, len(rows), aside.name)
    return db


def _readable(path: Path) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """The sound messages and episodes of a damaged database; what cannot be read is left."""
    rows: dict[int, tuple[Any, ...]] = {}
    episodes: dict[tuple[str, str], tuple[Any, ...]] = {}
    try:
        db = sqlite3.connect(path, isolation_level=None)
    except sqlite3.Error:
        return [], []
    with closing(db):
        db.text_factory = decoded
        with suppress(sqlite3.Error, UnicodeDecodeError):
            # SQLite reads a file that is shorter than its header says only when it is told to repair.
            db.execute("PRAGMA writable_schema = ON")
        # From both ends: a broken page in the middle ends the walk from either side.
        for order in ("ASC", "DESC"):
            with suppress(sqlite3.Error, UnicodeDecodeError, OverflowError):
                for values in db.execute(f"SELECT {COLUMNS} FROM messages ORDER BY id {order}"):
                    if isinstance(values[0], int) and unpacked(values) is not None:
                        rows[values[0]] = values
            with suppress(sqlite3.Error, UnicodeDecodeError):
                for values in db.execute(f"SELECT camera, label, body FROM episodes ORDER BY rowid {order}"):
                    if parsed_episode(values[2]) is not None:
                        episodes[values[0], values[1]] = values
    return [rows[number] for number in sorted(rows)], list(episodes.values())
