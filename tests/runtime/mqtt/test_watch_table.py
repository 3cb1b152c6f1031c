"""The table of `whycam watch`: drawn a few times a second at most, however many messages come."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from tests.runtime.mqtt.watching import ALERT, alert, disagreement, shadow
from whycam.mqtt.ear import Received
from whycam.watch import views
from whycam.watch.reading import read
from whycam.watch.views import TableView


class Screen:
    """A terminal of 200 columns, and a clock that is set by hand."""

    table: TableView

    def __init__(self) -> None:
        self.now = 1000.0
        self.paper = StringIO()
        self.console = Console(file=self.paper, force_terminal=True, width=200, height=50)

    def drawn(self, after: float = 0.0, problem: str | None = None) -> str:
        """What is drawn, `after` some seconds, at a refresh; empty where nothing is."""
        self.now += after
        start = len(self.paper.getvalue())
        self.table.refresh(problem, 0)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.paper.getvalue()[start:])

    def show(self, label: str) -> None:
        """An alert comes."""
        self.table.show(read("whycam", Received(ALERT, json.dumps(alert(label=label)).encode(), qos=1)), None)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    made = Screen()
    monkeypatch.setattr(views, "Console", lambda: made.console)
    monkeypatch.setattr(views, "time", SimpleNamespace(monotonic=lambda: made.now))
    with TableView("whycam") as made.table:
        made.drawn()
        yield made


def test_what_comes_soon_after_a_drawing_waits_for_the_next(screen: Screen) -> None:
    screen.show("fire")
    assert [screen.drawn(after=0.05) for _ in range(4)] == [""] * 4
    screen.show("fight")
    page = screen.drawn(after=0.06)
    assert "fire" in page
    assert "fight" in page
    assert screen.drawn(after=0.2) == ""


def test_a_thousand_messages_in_a_second_are_drawn_four_times(screen: Screen) -> None:
    pages = []
    for number in range(1000):
        screen.show(f"label-{number}")
        pages.append(screen.drawn(after=0.001001))
    pages = [page for page in pages if page]
    assert len(pages) == 4
    assert all("label-" in page for page in pages)


def test_a_connection_that_is_lost_or_found_is_drawn_at_once(screen: Screen) -> None:
    assert "not connected: refused" in screen.drawn(problem="refused")
    assert screen.drawn(problem="refused") == ""
    assert "connected" in screen.drawn()


def test_a_shadow_is_a_line_below_the_cameras(screen: Screen) -> None:
    assert "shadow" not in screen.drawn(after=1)
    topic = "whycam/gate/door/shadow"
    screen.table.show(read("whycam", Received(topic, json.dumps(shadow()).encode())), None)
    page = screen.drawn(after=1)
    assert "gate/door shadow: fires 2 int8 agrees on 99.5% of 200 frames" in page
    assert "3 of both, 2 live only, 1 candidate only" in page
    screen.table.show(read("whycam", Received(topic, json.dumps(shadow(trouble="gone\x1b[2J")).encode())), None)
    page = screen.drawn(after=1)
    assert "gate/door shadow: gone\\x1b[2J" in page
    assert "agrees" not in page
    told = json.dumps(disagreement()).encode()
    screen.table.show(read("whycam", Received(f"{topic}/disagreement", told, qos=1)), None)
    assert "fire raised by the live bundle alone" in screen.drawn(after=1)
