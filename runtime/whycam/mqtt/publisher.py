"""From the outbox to the broker: in order, and nothing deleted before the broker has it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial

from whycam.alerts.outbox import Outbox
from whycam.alerts.outbox_rows import Row
from whycam.mqtt.client import REFUSED, MqttClient
from whycam.mqtt.connection import TOO_LARGE

log = logging.getLogger(__name__)

_WINDOW = 8
_PAGE = 64
_LOOK_AHEAD = 256
_ACKNOWLEDGE_SECONDS = 20.0
_IDLE_SECONDS = 0.25
_HELD_SECONDS = 1.0
_FIRST_RETRY, _LAST_RETRY = 0.5, 8.0
_LAST_ROW_RETRY = 60.0


@dataclass
class _Retry:
    """When to try again what the broker has refused."""

    delay: float = 0.0
    at: float = 0.0

    def is_near(self, now: float) -> bool:
        return now < self.at

    def put_off(self, last: float) -> None:
        self.delay = min(max(self.delay * 2, _FIRST_RETRY), last)
        self.at = time.monotonic() + self.delay


@dataclass
class _Lane:
    """What is under way of one camera."""

    open: bool = False
    """Several may be under way, as the broker has taken one on this connection. Until then one, as the next would
    overtake one that is refused."""
    in_flight: int = 0
    waiting: set[int] = field(default_factory=set)
    """Rows that wait for their turn, so that the outbox need not give them again and again."""
    retry: _Retry = field(default_factory=_Retry)

    def is_closed(self, now: float) -> bool:
        return self.retry.is_near(now) or (not self.open and self.in_flight > 0)


@dataclass(frozen=True, eq=False)
class _Flight:
    row: Row
    sent: float


class OutboxPublisher:
    """Sends the outbox's rows, each camera's in order, and deletes a row when the broker has acknowledged it.

    A connection's end leaves nothing under way: what was not acknowledged is sent again on the next, from the outbox.
    So a subscriber may get a message twice, never not at all. What the broker refuses stays, and is tried again after
    a while; a refused alert holds back its camera's later rows, a heat map or what is too large only itself.
    """

    def __init__(
        self,
        client: MqttClient,
        outbox: Outbox,
        *,
        window: int = _WINDOW,
        acknowledge_seconds: float = _ACKNOWLEDGE_SECONDS,
    ) -> None:
        """With at most `window` rows under way; a broker that takes longer to acknowledge is connected to anew."""
        self.delivered = 0
        """Rows that the broker has acknowledged."""
        self.refused = 0
        """How often the broker did not take a row."""
        self._client = client
        self._outbox = outbox
        self._window = window
        self._acknowledge_seconds = acknowledge_seconds
        self._flights: dict[int, _Flight] = {}
        self._settled: deque[tuple[_Flight, int | None]] = deque()
        self._lanes: dict[str, _Lane] = {}
        self._row_retries: dict[int, _Retry] = {}
        self._done: set[int] = set()
        self._trouble: str | None = None
        self._told: set[tuple[str, str, int]] = set()
        self._connection = 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._asked = 0
        self._emptied = 0
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        client.on_connect(self._wake.set)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    @property
    def in_flight(self) -> int:
        """Rows that are sent and not acknowledged."""
        return len(self._flights)

    def drain(self, seconds: float) -> bool:
        """Wait until the outbox is empty, for `seconds` at most and only while connected; whether it is."""
        deadline = time.monotonic() + seconds
        # Only a look at the outbox that begins from now on counts.
        self._asked += 1
        asked = self._asked
        self._wake.set()
        while self._emptied < asked:
            if time.monotonic() >= deadline or not self._client.is_connected or not self._thread.is_alive():
                return False
            time.sleep(0.01)
        return True

    def stop(self, drain_seconds: float = 0.0) -> bool:
        """Drain, then stop; what was not acknowledged stays in the outbox. Whether that is nothing."""
        emptied = self.drain(drain_seconds) if drain_seconds > 0 else False
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        return emptied

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            asked = self._asked
            try:
                self._settle()
                self._send()
                self._trouble = None
            except Exception as error:
                # The outbox's own faults are its to mend; the rows stay, and are tried again.
                trouble = f"{type(error).__name__}: {error}"
                if trouble != self._trouble:
                    self._trouble = trouble
                    log.exception("the outbox cannot be read or written; trying again")
                self._wake.wait(1.0)
                continue
            if self._flights or self._settled or not self._client.is_connected:
                self._wake.wait(_IDLE_SECONDS)
            elif self._holds_rows():
                self._outbox.wait(_HELD_SECONDS)
            else:
                self._emptied = asked
                self._outbox.wait(_IDLE_SECONDS)
            self._check_overdue()

    def _holds_rows(self) -> bool:
        """Whether rows are left that may not be sent now."""
        now = time.monotonic()
        waiting = any(lane.waiting or lane.retry.is_near(now) for lane in self._lanes.values())
        return waiting or bool(self._row_retries) or bool(self._done)

    def _settle(self) -> None:
        """Act on what the broker has said, in the order in which it said it."""
        while self._settled:
            flight, code = self._settled.popleft()
            row = flight.row
            self._flights.pop(row.id, None)
            lane = self._lanes[row.camera]
            lane.in_flight -= 1
            if code is None:
                lane.open = False
            elif code >= REFUSED:
                self._put_off(lane, row, code)
            else:
                lane.open = True
                lane.retry = _Retry()
                self._row_retries.pop(row.id, None)
                self._done.add(row.id)
                self.delivered += 1
        for row_id in tuple(self._done):
            self._outbox.delivered(row_id)
            self._done.discard(row_id)

    def _put_off(self, lane: _Lane, row: Row, code: int) -> None:
        self.refused += 1
        if row.kind == "alert" and code != TOO_LARGE:
            lane.open = False
            lane.retry.put_off(_LAST_RETRY)
        else:
            self._row_retries.setdefault(row.id, _Retry()).put_off(_LAST_ROW_RETRY)
        told = (row.camera, row.kind, code)
        if told not in self._told:
            self._told.add(told)
            log.error(
                "the broker refuses a message on %s (reason code %d): it is kept and sent again; check the broker's "
                "ACL and limits",
                row.message.topic,
                code,
                extra={"camera": row.camera},
            )

    def _send(self) -> None:
        """Send what may be sent now."""
        if not self._client.is_connected:
            return
        now = time.monotonic()
        connection = self._client.connects
        if self._connection != connection:
            # Another connection, perhaps another broker: what was refused may be taken now.
            self._connection = connection
            self._row_retries.clear()
            self._told.clear()
            for lane in self._lanes.values():
                lane.open, lane.retry = False, _Retry()
        for lane in self._lanes.values():
            if not lane.is_closed(now):
                lane.waiting.clear()
        while (room := self._window - len(self._flights)) > 0 and self._may_look_on(now):
            rows = self._outbox.pending(min(_PAGE, room * 4), self._skipped(now))
            if not rows:
                self._forget_evicted(now)
                return
            for row in rows:
                lane = self._lanes.setdefault(row.camera, _Lane())
                if lane.is_closed(now) or lane.waiting or len(self._flights) >= self._window:
                    lane.waiting.add(row.id)
                    continue
                flight = _Flight(row, now)
                self._flights[row.id] = flight
                lane.in_flight += 1
                if not self._client.send(row.message, partial(self._on_settled, flight), connection):
                    del self._flights[row.id]
                    lane.in_flight -= 1
                    return

    def _may_look_on(self, now: float) -> bool:
        """Whether to look past the rows that wait: not far where turns come soon, all the way past the refused."""
        waiting = sum(len(lane.waiting) for lane in self._lanes.values() if not lane.retry.is_near(now))
        return waiting < _LOOK_AHEAD

    def _skipped(self, now: float) -> set[int]:
        skipped = {row_id for row_id, retry in self._row_retries.items() if retry.is_near(now)}
        skipped.update(self._flights, self._done, *(lane.waiting for lane in self._lanes.values()))
        return skipped

    def _forget_evicted(self, now: float) -> None:
        """Forget the retries that were due and whose rows the outbox no longer gives."""
        for row_id, retry in tuple(self._row_retries.items()):
            waits = any(row_id in lane.waiting for lane in self._lanes.values())
            if not retry.is_near(now) and row_id not in self._flights and not waits:
                del self._row_retries[row_id]

    def _on_settled(self, flight: _Flight, code: int | None) -> None:
        self._settled.append((flight, code))
        self._wake.set()

    def _check_overdue(self) -> None:
        if not self._flights or not self._client.is_connected:
            return
        oldest = min(flight.sent for flight in self._flights.values())
        if time.monotonic() - oldest > self._acknowledge_seconds:
            self._client.drop(f"no acknowledgement within {self._acknowledge_seconds:.0f} s")
