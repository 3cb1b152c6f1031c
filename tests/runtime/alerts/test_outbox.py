"""The outbox: what it has accepted, it gives out in order until delivered, whatever happens to process and disk."""

from __future__ import annotations

import logging
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from tests.chaos.small_disk import can_mount, fill, tmpfs
from whycam.alerts import outbox as outbox_module
from whycam.alerts.episodes import Episode
from whycam.alerts.outbox import Kind, Outbox, Outgoing
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


# -- in and out --


def test_a_message_comes_out_as_it_went_in(tmp_path: Path) -> None:
    message = Message(
        "whycam/post/tür/alert", bytes(range(256)), 1, True, 60, "image/jpeg", (("subject", "später"), ("subject", ""))
    )
    box = box_at(tmp_path / "outbox.db")
    (row,) = box.accept("tür", [Outgoing("heatmap", message)])
    box.close()
    (found,) = box_at(tmp_path / "outbox.db").pending(10)
    assert (found.id, found.camera, found.kind, found.message) == (row, "tür", "heatmap", message)


def test_open_episodes_are_kept_with_the_messages(tmp_path: Path) -> None:
    box = box_at(tmp_path / "outbox.db")
    box.accept("gate", [outgoing()], [episode("fight"), episode("fire", "0191")])
    box.accept("yard", [outgoing()], [episode("fight", "0192")])
    box.accept("gate", [outgoing()])
    box.accept("yard", [outgoing()], [])
    box.close()
    again = box_at(tmp_path / "outbox.db")
    assert [one.id for one in again.open_episodes("gate")] == ["0190", "0191"]
    assert again.open_cameras() == ("gate",)


def test_a_held_message_holds_back_its_own_camera_only(tmp_path: Path) -> None:
    box = box_at(tmp_path / "outbox.db")
    (held,) = box.accept("gate", [outgoing("first")], hold_seconds=3600)
    box.accept("gate", [outgoing("second")])
    box.accept("yard", [outgoing("other")])
    assert texts(box) == ["other"]
    assert box.amend(held, outgoing("first, and why"))
    assert texts(box) == ["first, and why", "second", "other"]
    assert not box.amend(held, outgoing("too late"))


def test_a_hold_ends_by_itself_and_with_the_process(tmp_path: Path) -> None:
    box = box_at(tmp_path / "outbox.db")
    (brief,) = box.accept("gate", [outgoing("brief")], hold_seconds=0.05)
    box.accept("yard", [outgoing("long")], hold_seconds=3600)
    while texts(box) != ["brief"]:
        box.wait(10)
    assert not box.amend(brief, outgoing("too late"))
    box.close()
    assert texts(box_at(tmp_path / "outbox.db")) == ["brief", "long"]


def test_wait_returns_when_a_message_comes(tmp_path: Path) -> None:
    box = box_at(tmp_path / "outbox.db")
    listener = threading.Thread(target=box.wait, args=(3600,), daemon=True)
    listener.start()
    for _ in range(200):
        box.accept("gate", [outgoing()])
        listener.join(0.1)
        if not listener.is_alive():
            return
    pytest.fail("nobody was woken")


# -- bounds --


def test_heat_maps_are_given_up_before_alerts_and_the_oldest_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box = box_at(tmp_path / "outbox.db", max_bytes=4608)
    for number in range(2):
        box.accept("gate", [outgoing(f"alert {number}", size=500), outgoing(f"map {number}", "heatmap", size=500)])
    box.accept("gate", [outgoing("alert 2", size=500)])
    assert texts(box) == ["alert 0", "alert 1", "map 1", "alert 2"]
    assert box.stats().evicted == {"heatmap": 1}
    for number in range(3, 6):
        box.accept("gate", [outgoing(f"alert {number}", size=500)])
    assert texts(box) == ["alert 2", "alert 3", "alert 4", "alert 5"]
    assert box.stats().evicted == {"heatmap": 2, "alert": 2}
    assert box.stats().bytes <= 4608
    assert "given up undelivered: 1 heatmaps" in caplog.text


def test_messages_age_by_the_time_that_passes(tmp_path: Path) -> None:
    clock = Ticker()
    box = box_at(tmp_path / "outbox.db", max_age_seconds=DAY, monotonic=clock)
    box.accept("gate", [outgoing("old")])
    clock.now += 0.9 * DAY
    box.accept("gate", [outgoing("new")])
    assert box.stats().oldest_age_seconds == pytest.approx(0.9 * DAY)
    clock.now += 0.2 * DAY
    assert texts(box) == ["new"]
    assert box.stats().evicted == {"alert": 1}


@pytest.mark.parametrize("started", [0.0, 5.0, 1e9], ids=["at once", "after a boot", "after years"])
def test_a_clock_that_was_set_gives_nothing_up(tmp_path: Path, started: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock shows 1970, then the date; the monotonic clock begins anew with each boot."""
    monkeypatch.setattr("time.time", lambda: 30.0)
    box = box_at(tmp_path / "outbox.db", max_age_seconds=DAY, monotonic=Ticker(1e6))
    box.accept("gate", [outgoing("before")])
    monkeypatch.setattr("time.time", lambda: 1.8e9)
    assert texts(box) == ["before"]
    box.close()
    clock = Ticker(started)
    again = box_at(tmp_path / "outbox.db", max_age_seconds=DAY, monotonic=clock)
    again.accept("gate", [outgoing("after")])
    assert texts(again) == ["before", "after"]
    clock.now += 1.1 * DAY
    assert texts(again) == []


def test_a_damaged_time_does_not_make_the_others_old(tmp_path: Path) -> None:
    box = box_at(tmp_path / "outbox.db")
    rows = [box.accept("gate", [outgoing(str(number))])[0] for number in range(3)]
    box.close()
    with sqlite3.connect(tmp_path / "outbox.db") as db:
        db.execute("UPDATE messages SET created = 1e300 WHERE id = ?", (rows[1],))
    db.close()
    again = box_at(tmp_path / "outbox.db")
    assert texts(again) == ["0", "2"]
    again.accept("gate", [outgoing("3")])
    assert texts(again) == ["0", "2", "3"]


# -- damage --


def filled(path: Path, count: int = 24) -> dict[int, str]:
    """Fill an outbox at `path`; its messages by their ids."""
    box = box_at(path)
    made = {}
    for number in range(count):
        text = f"message {number}"
        (row,) = box.accept(f"camera {number % 3}", [outgoing(text, size=700 * (number % 5))], [])
        made[row] = text
    box.accept("gate", [], [episode()])
    box.close()
    return made


def takes_and_keeps(path: Path) -> Outbox:
    """Open what is at `path`; what it takes comes out, also after it has been opened again."""
    box = box_at(path)
    box.accept("gate", [outgoing("taken after the damage")])
    assert texts(box)[-1] == "taken after the damage"
    box.close()
    again = box_at(path)
    assert texts(again)[-1] == "taken after the damage"
    assert again.stats().problem is None
    return again


def test_a_file_that_is_cut_off_anywhere_is_opened(tmp_path: Path) -> None:
    made = filled(tmp_path / "whole.db")
    whole = (tmp_path / "whole.db").read_bytes()
    most = 0
    pages = len(whole) // 4096
    for page in sorted({*range(8), *range(0, pages, 16), *range(pages - 24, pages)}):
        for end in (page * 4096, page * 4096 + 2000):
            path = tmp_path / f"{end}" / "outbox.db"
            path.parent.mkdir()
            path.write_bytes(whole[:end])
            box = takes_and_keeps(path)
            old = [row for row in box.pending(1000) if row.id in made]
            assert all(row.message.payload.rstrip(b"\0").decode() == made[row.id] for row in old)
            most = max(most, len(old))
            box.close()
    # Cut near its end, the file still yields messages.
    assert most > len(made) // 2


@pytest.mark.parametrize("damage", ["zeros", "noise", "one bit"])
def test_a_file_that_is_damaged_anywhere_is_opened(tmp_path: Path, damage: str) -> None:
    made = filled(tmp_path / "whole.db")
    whole = (tmp_path / "whole.db").read_bytes()
    dice = random.Random(damage)
    # Free pages are empty but for a few links.
    used = [start for start in range(0, len(whole), 4096) if whole.count(0, start, start + 4096) < 4000]
    assert len(used) > 8
    for start in used:
        broken = bytearray(whole)
        if damage == "one bit":
            place = dice.choice([place for place in range(start, start + 4096) if whole[place]])
            broken[place] ^= 1 << dice.randrange(8)
        else:
            broken[start : start + 4096] = bytes(4096) if damage == "zeros" else dice.randbytes(4096)
        path = tmp_path / f"{start}" / "outbox.db"
        path.parent.mkdir()
        path.write_bytes(broken)
        box = takes_and_keeps(path)
        old = [row for row in box.pending(1000) if row.id in made]
        assert all(row.message.payload.rstrip(b"\0").decode() == made[row.id] for row in old)
        # Either one page's messages are gone, or it is the page that the rest hangs on.
        assert len(old) >= len(made) - 10 or start < 3 * 4096
        box.close()


@pytest.mark.parametrize("damage", ["cut off", "zeros", "noise", "database", "gone"])
def test_a_file_with_its_log_is_opened(tmp_path: Path, damage: str) -> None:
    """As a kill leaves them: what was accepted last is in the log alone."""
    box = box_at(tmp_path / "whole.db")
    made = {box.accept("gate", [outgoing(f"message {number}")])[0]: f"message {number}" for number in range(40)}
    whole, journal = ((tmp_path / name).read_bytes() for name in ("whole.db", "whole.db-wal"))
    box.close()
    dice = random.Random(damage)
    kept = []
    for place in range(0, len(journal), len(journal) // 20):
        path = tmp_path / f"{place}" / "outbox.db"
        path.parent.mkdir()
        database, broken = bytearray(whole), bytearray(journal)
        if damage == "cut off":
            del broken[place:]
        elif damage == "database":
            start = place % len(whole)
            database[start : start + 4096] = dice.randbytes(4096)
        elif damage == "gone":
            broken.clear()
        else:
            broken[place : place + 4096] = bytes(4096) if damage == "zeros" else dice.randbytes(4096)
        path.write_bytes(database)
        path.with_name("outbox.db-wal").write_bytes(broken)
        box = takes_and_keeps(path)
        old = [row for row in box.pending(1000) if row.id in made]
        assert [row.message.payload.decode() for row in old] == [made[row.id] for row in old]
        kept.append(len(old))
        box.close()
    if damage in ("cut off", "zeros", "noise"):
        # What lies in the log before the damage is whole.
        assert max(kept) > len(made) // 2


def test_a_damaged_file_is_set_aside_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"this is no database, and never was\n" * 1000)
    box = takes_and_keeps(path)
    box.close()
    (aside,) = tmp_path.glob("outbox.db.damaged-*")
    assert aside.read_bytes().startswith(b"this is no database")
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 1
    assert "damaged" in told[0]
    assert aside.name in told[0]


def test_a_broken_letter_costs_one_message(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    made = filled(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE messages SET camera = CAST(x'ff' AS TEXT) WHERE id = ?", (min(made),))
    db.close()
    box = takes_and_keeps(path)
    assert len(texts(box)) == len(made)


def test_a_file_whose_schema_is_damaged_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    filled(path)
    whole = path.read_bytes()
    assert whole.count(b"checksum INTEGER") == 1
    path.write_bytes(whole.replace(b"checksum INTEGER", b"checksun INTEGER"))
    takes_and_keeps(path).close()
    assert len(list(tmp_path.glob("outbox.db.damaged-*"))) == 1


def test_an_empty_file_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "outbox.db").touch()
    takes_and_keeps(tmp_path / "outbox.db")
    assert "is empty" in caplog.text


# -- a disk that takes nothing --


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


# -- death, and many at once --

WORK = """
import sys
from pathlib import Path
from whycam.alerts.outbox import Outbox, Outgoing
from whycam.mqtt.message import Message

box = Outbox(Path(sys.argv[1]), 1 << 26, 1e6)
number = 0
while True:
    number += 1
    hold = 60 if number % 3 == 0 else 0
    rows = box.accept("gate", [Outgoing("alert", Message("t", b"%d" % number))] * 2, [], hold_seconds=hold)
    print("accepted", *rows, flush=True)
    if hold:
        box.amend(rows[0], Outgoing("alert", Message("t", b"amended")))
        box.release(rows[1])
    if number % 2:
        # Said before it is done: what was killed in between may be there or not.
        print("delivering", rows[0], flush=True)
        box.delivered(rows[0])
        print("delivered", rows[0], flush=True)
"""


def test_what_was_accepted_outlives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    dice = random.Random(3)
    accepted: set[int] = set()
    perhaps: set[int] = set()
    delivered: set[int] = set()
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", WORK, path], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(dice.randrange(1, 40))]
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        # The last line may be cut off.
        for line in lines:
            if line.endswith("\n"):
                word, *rows = line.split()
                {"accepted": accepted, "delivering": perhaps, "delivered": delivered}[word].update(map(int, rows))
        box = box_at(path)
        waiting = [row.id for row in box.pending(100_000)]
        box.close()
        assert waiting == sorted(set(waiting))
        assert accepted - perhaps <= set(waiting)
        assert not delivered & set(waiting)
    assert len(accepted) > 100
    assert not list(tmp_path.glob("*.damaged-*"))


def test_many_threads_lose_and_repeat_nothing(tmp_path: Path) -> None:
    box = box_at(tmp_path / "outbox.db")
    each, cameras = 25, 4
    taken: list[tuple[str, str]] = []

    def offer(camera: str) -> None:
        for number in range(each):
            (row,) = box.accept(camera, [outgoing(str(number))], [episode()], hold_seconds=60 if number % 5 == 0 else 0)
            if number % 5 == 0:
                assert box.amend(row, outgoing(str(number)))

    def take() -> None:
        while len(taken) < each * cameras:
            for row in box.pending(8):
                taken.append((row.camera, row.message.payload.decode()))
                box.delivered(row.id)
            box.wait(0.05)

    threads = [threading.Thread(target=offer, args=(f"camera {number}",)) for number in range(cameras)]
    threads.append(threading.Thread(target=take, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    for number in range(cameras):
        assert [text for camera, text in taken if camera == f"camera {number}"] == [str(one) for one in range(each)]
    assert box.stats().rows == box.stats().bytes == 0
    box.close()
    assert texts(box_at(tmp_path / "outbox.db")) == []


# -- against a model --


class OutboxAgainstAModel(RuleBasedStateMachine):
    """Any sequence of calls, beside a list that does the same the simple way."""

    rows = Bundle("rows")
    max_bytes = 12_000
    max_age = 10 * DAY

    def __init__(self) -> None:
        """A new folder."""
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "outbox.db"
        self.waiting: dict[int, tuple[str, str, bytes]] = {}
        self.held: set[int] = set()
        self.open: dict[str, list[str]] = {}
        self.evicted: dict[str, int] = {}
        self.now = 0.0
        """The time that has passed while an outbox was open: see `created`."""
        self.created: dict[int, float] = {}

    @initialize()
    def begin(self) -> None:
        self.clock = Ticker()
        self.box = box_at(
            self.path, max_bytes=self.max_bytes, max_age_seconds=self.max_age, monotonic=lambda: self.clock.now
        )

    @rule(
        target=rows,
        camera=st.sampled_from(["gate", "yard", "roof"]),
        kind=st.sampled_from(["alert", "heatmap"]),
        size=st.sampled_from([0, 1, 900, 3000]),
        held=st.booleans(),
        episodes=st.one_of(st.none(), st.sets(st.sampled_from(["fight", "fire"]))),
    )
    def accept(self, camera: str, kind: Kind, size: int, held: bool, episodes: set[str] | None) -> int:
        text = f"{len(self.waiting)} of {camera}"
        message = outgoing(text, kind, size)
        opened = None if episodes is None else [episode(label, label) for label in sorted(episodes)]
        (row,) = self.box.accept(camera, [message], opened, hold_seconds=3600 if held else 0)
        assert all(row > other for other in self.waiting)
        self.waiting[row] = (camera, kind, message.message.payload)
        self.created[row] = self.now
        if held:
            self.held.add(row)
        if episodes is not None:
            self.open[camera] = sorted(episodes)
        self.give_up()
        return row

    def give_up(self) -> None:
        for row in sorted(self.waiting):
            if self.now - self.created[row] > self.max_age:
                self.lose(row)
        for kind in ("heatmap", "alert"):
            for row in sorted(self.waiting):
                if sum(len(payload) + 512 for _, _, payload in self.waiting.values()) <= self.max_bytes:
                    return
                if self.waiting[row][1] == kind:
                    self.lose(row)

    def lose(self, row: int) -> None:
        kind = self.waiting.pop(row)[1]
        self.held.discard(row)
        self.evicted[kind] = self.evicted.get(kind, 0) + 1

    @rule(days=st.integers(1, 6))
    def let_time_pass(self, days: int) -> None:
        self.clock.now += days * DAY
        self.now += days * DAY

    @rule(row=rows, size=st.sampled_from([0, 2000]))
    def amend(self, row: int, size: int) -> None:
        message = outgoing("amended", "alert", size)
        assert self.box.amend(row, message) == (row in self.held)
        if row in self.held:
            self.held.discard(row)
            self.waiting[row] = (self.waiting[row][0], "alert", message.message.payload)

    @rule(row=rows)
    def release(self, row: int) -> None:
        self.box.release(row)
        self.held.discard(row)

    @rule(row=consumes(rows))
    def deliver(self, row: int) -> None:
        self.box.delivered(row)
        self.waiting.pop(row, None)
        self.held.discard(row)

    @rule(cleanly=st.booleans())
    def reopen(self, cleanly: bool) -> None:
        if cleanly:
            self.box.close()
        # The device was off: its monotonic clock begins anew, and ages go on where the newest message was taken.
        self.now = max((self.created[row] for row in self.waiting), default=0.0)
        self.begin()
        self.held.clear()
        self.evicted.clear()

    @rule(limit=st.integers(1, 5), data=st.data())
    def look(self, limit: int, data: st.DataObject) -> None:
        self.give_up()
        skip = data.draw(st.sets(st.sampled_from(sorted(self.waiting))) if self.waiting else st.just(set()))
        blocked: set[str] = set()
        expected = []
        for row in sorted(self.waiting):
            if row in self.held:
                blocked.add(self.waiting[row][0])
            elif row not in skip and self.waiting[row][0] not in blocked:
                expected.append((row, *self.waiting[row]))
        found = [(row.id, row.camera, row.kind, row.message.payload) for row in self.box.pending(limit, skip)]
        assert found == expected[:limit]

    @invariant()
    def counts_are_right(self) -> None:
        stats = self.box.stats()
        assert stats.rows == len(self.waiting)
        assert stats.bytes == sum(len(payload) + 512 for _, _, payload in self.waiting.values())
        assert stats.evicted == self.evicted
        assert (stats.in_memory, stats.problem) == (0, None)
        for camera, labels in self.open.items():
            assert [one.label for one in self.box.open_episodes(camera)] == labels

    def teardown(self) -> None:
        self.box.close()
        self.folder.cleanup()


OutboxAgainstAModel.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestOutboxAgainstAModel = OutboxAgainstAModel.TestCase


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
