"""A file that is damaged, anywhere, is opened: what is sound in it comes out, and what is accepted then stays."""

from __future__ import annotations

import logging
import random
import sqlite3
from pathlib import Path

import pytest

from tests.runtime.alerts.outboxes import box_at, episode, outgoing, texts
from whycam.alerts.outbox import Outbox


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
