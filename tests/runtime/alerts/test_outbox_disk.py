"""A disk that takes nothing: messages wait in memory, are delivered, and are written when it takes them again."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.small_disk import can_mount, fill, tmpfs
from tests.runtime.alerts.outboxes import box_at, episode, outgoing, texts
from whycam.alerts import outbox as outbox_module
from whycam.alerts.outbox import Outbox, Outgoing
from whycam.mqtt.message import Message


@pytest.mark.parametrize("obstacle", ["a folder in its place", "no folder around it"])
def test_without_a_file_messages_go_through_memory(
    tmp_path: Path, obstacle: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state" / "outbox.db"
    if obstacle == "a folder in its place":
        path.mkdir(parents=True)
    box = box_at(path)
    first, second = box.accept("gate", [outgoing("1"), outgoing("2")], [episode()])
    assert texts(box) == ["1", "2"]
    assert box.stats().in_memory == 2
    assert str(path) in str(box.stats().problem)
    assert caplog.text.count("wait in memory until the disk takes them") == 1
    box.delivered(first)
    assert texts(box) == ["2"]
    if obstacle == "a folder in its place":
        path.rmdir()
    else:
        path.parent.mkdir()
    # Every message insists on the disk anew.
    box.accept("gate", [outgoing("3")])
    assert (box.stats().problem, box.stats().in_memory) == (None, 0)
    assert [row.id for row in box.pending(1)] == [second]
    box.close()
    again = box_at(path)
    assert texts(again) == ["2", "3"]
    assert [one.id for one in again.open_episodes("gate")] == ["0190"]


def test_messages_of_a_device_without_the_date_come_after_the_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts in 1970, and cannot open the file at first."""
    state, away = tmp_path / "state", tmp_path / "away"
    state.mkdir()
    box = box_at(state / "outbox.db")
    box.accept("gate", [outgoing("1"), outgoing("2")])
    box.close()
    monkeypatch.setattr("time.time", lambda: 30.0)
    blocked = sqlite3.connect
    monkeypatch.setattr("sqlite3.connect", lambda *_, **__: blocked(away / "none" / "outbox.db"))
    box = box_at(state / "outbox.db")
    box.accept("gate", [outgoing("3")])
    assert texts(box) == ["3"]
    monkeypatch.setattr("sqlite3.connect", blocked)
    box.accept("gate", [outgoing("4")])
    assert texts(box) == ["1", "2", "3", "4"]
    assert box.stats().in_memory == 0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MiB."""
    if reason := can_mount():
        pytest.skip(reason)
    with tmpfs(tmp_path / "small", "3m"):
        yield tmp_path / "small"


def test_alerts_are_written_on_a_full_disk(small: Path) -> None:
    box = box_at(small / "outbox.db")
    fill(small)
    rows = [box.accept("gate", [outgoing(str(number), size=1000)])[0] for number in range(200)]
    assert (box.stats().in_memory, box.stats().problem) == (0, None)
    # As after a SIGKILL: another process reads the file beside the open one.
    with sqlite3.connect(small / "outbox.db") as db:
        assert [row for (row,) in db.execute("SELECT id FROM messages ORDER BY id")] == rows
    db.close()


def test_where_even_the_reserve_is_used_up_messages_wait_in_memory(small: Path) -> None:
    box = box_at(small / "outbox.db")
    filler = fill(small)
    rows = [box.accept("gate", [outgoing(str(number), size=50_000)])[0] for number in range(60)]
    stats = box.stats()
    assert stats.in_memory > 0
    assert "full" in str(stats.problem)
    assert [row.id for row in box.pending(1000)] == rows
    for row in rows[:50]:
        box.delivered(row)
    filler.unlink()
    box.accept("gate", [outgoing("last")])
    assert (box.stats().in_memory, box.stats().problem) == (0, None)
    box.close()
    assert [row.id for row in box_at(small / "outbox.db").pending(1000)][:-1] == rows[50:]


def test_a_read_only_disk_is_outlived(small: Path) -> None:
    box = box_at(small / "outbox.db")
    (first,) = box.accept("gate", [outgoing("1")])
    box.close()
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    box = box_at(small / "outbox.db")
    box.accept("gate", [outgoing("2")])
    assert box.stats().problem is not None
    # What was written before cannot be read without its log, which nobody may make; nothing of it is given up.
    subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    box.accept("gate", [outgoing("3")])
    assert texts(box) == ["1", "2", "3"]
    assert [row.id for row in box.pending(1)] == [first]
    assert box.stats().evicted == {}


def test_a_file_that_was_out_of_reach_is_opened_without_waiting_for_the_next_alert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "_RETRY_SECONDS", 0.0)
    folder = tmp_path / "state"
    folder.mkdir()
    before = Outbox(folder / "outbox.db", 1 << 24, 86400)
    before.accept("gate", [Outgoing("alert", Message("a", b"%d" % number)) for number in range(5)])
    before.close()
    folder.rename(tmp_path / "away")
    box = Outbox(folder / "outbox.db", 1 << 24, 86400)
    assert box.pending(10) == []
    assert box.stats().problem
    (tmp_path / "away").rename(folder)
    assert [row.message.payload for row in box.pending(10)] == [b"0", b"1", b"2", b"3", b"4"]
    assert box.stats().problem is None
    box.close()
