"""Outboxes, messages and episodes for the tests to fill them with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whycam.alerts.episodes import Episode
from whycam.alerts.outbox import Outbox, Outgoing
from whycam.alerts.outbox_rows import Kind
from whycam.mqtt.message import Message

MIB = 1 << 20
DAY = 86400.0


def box_at(path: Path, **changes: Any) -> Outbox:
    """An outbox with much room and time."""
    return Outbox(path, **{"max_bytes": 64 * MIB, "max_age_seconds": 30 * DAY, **changes})


def outgoing(text: str = "fight", kind: Kind = "alert", size: int = 0) -> Outgoing:
    """A message with `text` in it."""
    return Outgoing(kind, Message(f"whycam/post/gate/{kind}", text.encode() + bytes(size)))


def texts(box: Outbox) -> list[str]:
    """What waits, in order."""
    return [row.message.payload.rstrip(b"\0").decode() for row in box.pending(10_000)]


def episode(label: str = "fight", identity: str = "0190") -> Episode:
    """An open episode."""
    return Episode(
        id=identity,
        label=label,
        threshold=0.7,
        onset=1.0,
        raised_at=2.0,
        peak=0.9,
        peak_time=2.0,
        score=0.9,
        last_above=2.0,
        last_seen=2.0,
        updated_at=2.0,
        told_peak=0.9,
        sequence=0,
    )


class Ticker:
    """A monotonic clock that is set by hand."""

    def __init__(self, now: float = 100.0) -> None:
        """It shows `now` seconds."""
        self.now = now

    def __call__(self) -> float:
        """Seconds."""
        return self.now
