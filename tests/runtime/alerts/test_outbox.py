"""The outbox: what it has accepted, it gives out in order until delivered, within its bounds."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from tests.runtime.alerts.outboxes import DAY, Ticker, box_at, episode, outgoing, texts
from whycam.alerts.outbox import Outgoing
from whycam.mqtt.message import Message


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
