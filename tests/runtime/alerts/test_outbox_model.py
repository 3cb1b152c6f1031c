"""The outbox beside a model of it: any sequence of calls has the same outcome."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from tests.runtime.alerts.outboxes import DAY, Ticker, box_at, episode, outgoing
from whycam.alerts.outbox_rows import Kind


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
        kind=st.sampled_from(["alert", "heatmap", "disagreement"]),
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
        for kind in ("disagreement", "heatmap", "alert"):
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
