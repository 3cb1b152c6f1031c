"""The outbox: what has been accepted, on the disk until the broker has it."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from whycam.alerts.episodes import Episode
from whycam.alerts.outbox_file import (
    COLUMNS,
    FAULTS,
    connect,
    damaged,
    episodes_in,
    later_than_all,
    make_reserve,
    transaction,
)
from whycam.alerts.outbox_rows import KINDS, OVERHEAD_BYTES, Kind, Row, packed, unpacked
from whycam.alerts.outbox_salvage import salvage
from whycam.mqtt.message import Message

log = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class Outgoing:
    """A message to deliver, and what is given up first when there is no room, as `KINDS` has it: alerts last."""

    kind: Kind
    message: Message


@dataclass(frozen=True)
class OutboxStats:
    """How the outbox is doing."""

    rows: int
    bytes: int
    oldest_age_seconds: float | None
    evicted: dict[str, int] = field(default_factory=dict)
    in_memory: int = 0
    problem: str | None = None


class Outbox:
    """Messages in the order of acceptance, each on the disk before `accept` returns, until `delivered`.

    The open episodes are kept with them, in the same transactions: after a crash, what was said and what is open agree.
    Safe for several threads. Where the disk takes nothing (full, read-only, failing), messages wait in memory,
    are delivered all the same, and go to the disk when it takes them again; `stats().problem` says so.
    """

    def __init__(
        self, path: Path, max_bytes: int, max_age_seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """The outbox in the file at `path`, of at most `max_bytes` of messages, none older than `max_age_seconds`.

        Age is the time that has passed while an outbox was open on the file: a wall clock that is set, as on a device
        that learns the date after it started, gives no message up.

        A damaged file is set aside, and what can be read of it is carried over.
        """
        self._path = path
        self._max_bytes = max_bytes
        self._max_age = max_age_seconds
        self._monotonic = monotonic
        self._start: float | None = None
        self._changed = threading.Condition(threading.RLock())
        self._db: sqlite3.Connection | None = None
        # Later than all that the file holds, even while it cannot be opened.
        self._next_id = later_than_all(path)
        self._bytes = 0
        self._sizes: dict[int, tuple[Kind, int, float]] = {}
        self._memory: dict[int, Row] = {}
        self._episodes: dict[str, tuple[Episode, ...]] = {}
        self._unsaved: set[str] = set()
        self._gone: set[int] = set()
        self._held: dict[int, float] = {}
        self._evicted: Counter[str] = Counter()
        self._problem: str | None = None
        self._retry_at = 0.0
        with self._changed:
            self._open()

    # -- the way in --

    def accept(
        self,
        camera: str,
        messages: Sequence[Outgoing],
        episodes: Sequence[Episode] | None = None,
        hold_seconds: float = 0,
    ) -> list[int]:
        """Take `messages` of `camera`, all or none; their ids.

        `episodes` are the camera's open episodes from now on; None leaves them as they are. With `hold_seconds` the
        messages wait so long for `amend` or `release`; a restart releases them.
        """
        with self._changed:
            created = self._now()
            rows = [
                Row(self._next_id + place, camera, outgoing.kind, outgoing.message, created)
                for place, outgoing in enumerate(messages)
            ]
            self._next_id += len(rows)
            if episodes is not None:
                self._episodes[camera] = tuple(episodes)
                self._unsaved.add(camera)
            for row in rows:
                self._remember(row)
                if hold_seconds > 0:
                    self._held[row.id] = time.monotonic() + hold_seconds
            self._save(insist=True)
            self._evict()
            self._changed.notify_all()
            return [row.id for row in rows]

    def amend(self, row: int, outgoing: Outgoing) -> bool:
        """Replace the message of a row that is held still, and release it; False where it has left."""
        with self._changed:
            if row not in self._held or row not in self._sizes or time.monotonic() >= self._held[row]:
                return False
            old = self._memory.get(row) or self._stored(row)
            if old is None:
                return False
            # `_save` replaces the row on the disk.
            self._remember(replace(old, kind=outgoing.kind, message=outgoing.message))
            self._save(insist=True)
            self.release(row)
            return True

    def release(self, row: int) -> None:
        """Let a held row go as it is."""
        with self._changed:
            self._held.pop(row, None)
            self._changed.notify_all()

    def release_all(self) -> None:
        """Let all held rows go as they are."""
        with self._changed:
            self._held.clear()
            self._changed.notify_all()

    def open_episodes(self, camera: str) -> list[Episode]:
        """The episodes that were open when `camera` last said so."""
        with self._changed:
            return list(self._episodes.get(camera, ()))

    def open_cameras(self) -> tuple[str, ...]:
        """The cameras that have open episodes."""
        with self._changed:
            return tuple(camera for camera, episodes in self._episodes.items() if episodes)

    # -- the way out --

    def pending(self, limit: int, skip: Container[int] = ()) -> list[Row]:
        """At most `limit` rows to send, in order, without those in `skip`.

        A held row holds back the later ones of its camera, so that order is kept; other cameras' go past it.
        """
        with self._changed:
            self._save()
            self._evict()
            now = time.monotonic()
            self._held = {row: until for row, until in self._held.items() if until > now and row in self._sizes}
            blocked: set[str] = set()
            chosen: list[Row] = []
            for row in self._rows():
                if row.id in self._held:
                    blocked.add(row.camera)
                elif row.camera not in blocked and row.id not in skip:
                    chosen.append(row)
                    if len(chosen) == limit:
                        break
            return chosen

    def delivered(self, row: int) -> None:
        """The broker has it: forget it."""
        with self._changed:
            if row in self._sizes:
                self._forget(row)
                self._save(insist=True)

    def wait(self, seconds: float) -> None:
        """Return when a message has come or been released, at the latest after `seconds`."""
        with self._changed:
            ends = [until - time.monotonic() for until in self._held.values()]
            self._changed.wait(max(0.0, min([seconds, *ends])))

    def stats(self) -> OutboxStats:
        """How the outbox is doing."""
        with self._changed:
            first = min((created for _, _, created in self._sizes.values()), default=None)
            return OutboxStats(
                rows=len(self._sizes),
                bytes=self._bytes,
                oldest_age_seconds=None if first is None else max(0.0, self._now() - first),
                evicted=dict(self._evicted),
                in_memory=len(self._memory),
                problem=self._problem,
            )

    def close(self) -> None:
        """Close the file; what could be saved is saved."""
        with self._changed:
            self._save(insist=True)
            self._close()

    # -- the file --

    def _open(self) -> None:
        """Open the database, or leave it closed with the problem told."""
        try:
            # SQLite takes an empty file for a new one, and says nothing.
            if self._path.exists() and self._path.stat().st_size == 0:
                log.error("%s: is empty; if messages waited in it, they are lost", self._path)
            try:
                self._db = connect(self._path)
                self._take_over(self._db)
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                self._close()
                if not damaged(error):
                    raise
                self._db = salvage(self._path, error)
                self._take_over(self._db)
        except FAULTS as error:
            self._close()
            self._trouble(error)

    def _now(self) -> float:
        """Seconds on the clock that messages age by; it goes on where the newest message in the file was taken."""
        if self._start is None:
            self._start = self._newest() - self._monotonic()
        return self._start + self._monotonic()

    def _newest(self) -> float:
        """When the newest sound message was taken: a damaged time must not make all others look old."""
        by_time = sorted(self._sizes, key=lambda row: self._sizes[row][2], reverse=True)
        return next((self._sizes[row][2] for row in by_time if row in self._memory or self._stored(row)), 0.0)

    def _take_over(self, db: sqlite3.Connection) -> None:
        """Know what the database holds, which may be from before."""
        if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("malformed: the check of its structure failed")
        # A damaged schema may have lost a column's name.
        db.execute(f"SELECT {COLUMNS} FROM messages LIMIT 0")
        rows = db.execute("SELECT id, kind, length(payload), created FROM messages ORDER BY id").fetchall()
        stored = {number: (kind, length + OVERHEAD_BYTES, created) for number, kind, length, created in rows}
        for camera, episodes in episodes_in(db).items():
            self._episodes.setdefault(camera, episodes)
        lost = [row for row in self._sizes if row not in stored and row not in self._memory]
        if lost:
            log.error("%s: %d messages went with the damaged file", self._path, len(lost))
            self._evicted["damaged"] += len(lost)
        waiting = {row: self._sizes[row] for row in self._memory}
        self._sizes = {row: size for row, size in stored.items() if row not in self._gone} | waiting
        self._bytes = sum(size for _, size, _ in self._sizes.values())
        self._next_id = max([self._next_id, *(row + 1 for row in self._sizes)])
        make_reserve(db)

    def _save(self, *, insist: bool = False) -> None:
        """Bring the disk up to what memory knows, in one transaction."""
        if self._db is not None and not (self._memory or self._unsaved or self._gone):
            return
        if self._problem is not None and not insist and time.monotonic() < self._retry_at:
            return
        if self._db is None:
            self._open()
        if self._db is None:
            return
        try:
            if self._problem is not None:
                # Room that has come is for what the log holds; a transaction that fails would use it up.
                self._db.execute("PRAGMA wal_checkpoint(RESTART)")
            with transaction(self._db):
                # First, so that what comes takes the room of what goes.
                self._db.executemany("DELETE FROM messages WHERE id = ?", [(row,) for row in self._gone])
                for row in self._memory.values():
                    values = (row.id, row.camera, row.kind, row.created, *packed(row))
                    self._db.execute("INSERT OR REPLACE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", values)
                for camera in self._unsaved:
                    self._db.execute("DELETE FROM episodes WHERE camera = ?", (camera,))
                    for episode in self._episodes[camera]:
                        body = episode.model_dump_json()
                        self._db.execute("INSERT INTO episodes VALUES (?, ?, ?)", (camera, episode.label, body))
        except FAULTS as error:
            self._trouble(error)
            return
        self._memory.clear()
        self._unsaved.clear()
        self._gone.clear()
        if self._problem is not None:
            log.warning("%s: the disk takes alerts again", self._path)
            self._problem = None

    def _trouble(self, error: Exception) -> None:
        told = f"{self._path}: {error}"
        if told != self._problem:
            log.error("%s; alerts wait in memory until the disk takes them", told)
        self._problem = told
        self._retry_at = time.monotonic() + _RETRY_SECONDS
        if damaged(error):
            # The next attempt opens it anew, and so sets it aside.
            self._close()

    def _close(self) -> None:
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _rows(self) -> Iterator[Row]:
        """All rows in order; those that wait in memory are later than those on the disk."""
        last = 0
        replaced: set[int] = set()
        while self._db is not None:
            try:
                page = self._db.execute(
                    f"SELECT {COLUMNS} FROM messages WHERE id > ? ORDER BY id LIMIT 32", (last,)
                ).fetchall()
            except FAULTS as error:
                self._trouble(error)
                break
            for values in page:
                last = values[0]
                row = unpacked(values)
                if row is None:
                    log.error("%s: message %d is damaged and left out", self._path, last)
                    self._forget(last)
                elif last not in self._gone and last in self._sizes:
                    if last in self._memory:
                        replaced.add(last)
                    yield self._memory.get(last, row)
            if not page:
                break
        for row in tuple(self._memory.values()):
            if row.id not in replaced:
                yield row

    def _stored(self, row: int) -> Row | None:
        """The row on the disk; None where it is not there, or cannot be read."""
        if self._db is None:
            return None
        try:
            values = self._db.execute(f"SELECT {COLUMNS} FROM messages WHERE id = ?", (row,)).fetchone()
        except FAULTS as error:
            self._trouble(error)
            return None
        return None if values is None else unpacked(values)

    def _remember(self, row: Row) -> None:
        self._bytes += row.bytes - self._sizes.get(row.id, (row.kind, 0, 0.0))[1]
        self._memory[row.id] = row
        self._sizes[row.id] = (row.kind, row.bytes, row.created)

    def _forget(self, row: int) -> None:
        if row in self._sizes:
            self._bytes -= self._sizes.pop(row)[1]
        self._held.pop(row, None)
        self._memory.pop(row, None)
        self._gone.add(row)

    def _evict(self) -> None:
        """Keep to the bounds of age and bytes: the oldest go first, alerts last."""
        oldest = self._now() - self._max_age
        first = next(iter(self._sizes.values()), None)
        if first is None or (self._bytes <= self._max_bytes and first[2] >= oldest):
            return
        # A dict for its order: after a bound was lowered, tens of thousands may go at once.
        doomed = dict.fromkeys(row for row, (_, _, created) in self._sizes.items() if created < oldest)
        excess = sum(size for row, (_, size, _) in self._sizes.items() if row not in doomed) - self._max_bytes
        for kind in KINDS:
            for row in sorted(self._sizes):
                if excess > 0 and self._sizes[row][0] == kind and row not in doomed:
                    doomed[row] = None
                    excess -= self._sizes[row][1]
        if not doomed:
            return
        lost = Counter(self._sizes[row][0] for row in doomed)
        log.error(
            "%s: no room or too old, given up undelivered: %s",
            self._path,
            ", ".join(f"{count} {kind}s" for kind, count in lost.items()),
        )
        self._evicted.update(lost)
        for row in doomed:
            self._forget(row)
        self._save(insist=True)
