"""A connection to a broker that comes back by itself.

Each attempt has a paho client of its own, driven by one thread. paho would keep what was not acknowledged and send it
again on its next connection; the outbox does that already, on the disk and in order. Two such memories would send twice
and out of order, so paho's ends with its connection, and whoever published is told that there was no acknowledgement.
"""

from __future__ import annotations

import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import paho.mqtt.client as paho

from whycam.backoff import Backoff
from whycam.errors import WhycamError
from whycam.mqtt.ear import Admission, Ear, Received, received
from whycam.mqtt.message import Message
from whycam.mqtt.server import Server, told
from whycam.mqtt.session import CONNACK_SECONDS, Session, size_of

log = logging.getLogger(__name__)

Settled = Callable[[int | None], None]
"""Called once with the broker's reason code (128 or more: refused), or None where the connection ended before it."""

TOO_LARGE = 149
"""The reason code for a message that is larger than the broker takes."""

_STEADY_SECONDS = 10.0
_GOODBYE_SECONDS = 1.0
_BLOCKED_SECONDS = 2.0
_IN_FLIGHT = 10


class Handler(Protocol):
    """What a connection reports to, in its own thread: nothing here may wait."""

    def connected(self, session_present: bool) -> None:
        """The broker has let us in; `session_present`: it remembers our subscriptions."""

    def received(self, message: Received) -> None:
        """A message has come."""

    def disconnected(self, reason: str) -> None:
        """The connection has ended."""


class Connection:
    """Connects, and connects again after every end, until it is stopped. Thread-safe."""

    def __init__(
        self,
        server: Server,
        client_id: str,
        handler: Handler,
        *,
        will: Message | None = None,
        session_seconds: int = 0,
        manual_acknowledgement: bool = False,
    ) -> None:
        """A connection as `client_id`, not yet started.

        The broker publishes `will` where the connection ends without goodbye, and keeps the session, which is our
        subscriptions and what comes in for them, for `session_seconds` after it; 0: each connection begins anew. With
        `manual_acknowledgement` a message is the broker's to send again until `acknowledge`.
        """
        self.connects = 0
        """How often the broker has let us in; the number of the present connection."""
        self.refused: int | None = None
        """The reason code with which the broker did not let us in, the last time; None where it was something else."""
        self._session = Session(server, client_id, will, session_seconds, manual_acknowledgement)
        self._server = server
        self._handler = handler
        self._lock = threading.Lock()
        self._client: paho.Client | None = None
        self._up = False
        self._largest: int | None = None
        self._in_flight = _IN_FLIGHT
        self._unsettled: dict[int, Settled] = {}
        self._blocked_since: float | None = None
        self._drop_reason: str | None = None
        self._stopping = threading.Event()
        self._polite = False
        self._problem: str | None = None
        self._told_down = True
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._thread.start()

    @property
    def is_up(self) -> bool:
        """Whether the broker has let us in."""
        return self._up

    @property
    def problem(self) -> str | None:
        """Why there is no connection, where one was tried; None while there is one."""
        return None if self._up else self._problem

    def publish(self, message: Message, settled: Settled | None = None, connection: int | None = None) -> bool:
        """Hand `message` to the broker; False, and nothing done, while there is no connection or no room.

        Also False where `connection` is given and is not the present value of `connects`. `settled` is called once,
        from another thread or this one; for QoS 0 as soon as the message is under way.
        """
        with self._lock:
            client = self._client
            if client is None or not self._up or (message.qos == 0 and self._is_blocked):
                return False
            if connection is not None and connection != self.connects:
                return False
            fits = self._largest is None or size_of(message) <= self._largest
            if fits:
                info = client.publish(
                    message.topic, message.payload, message.qos, message.retain, self._session.properties_of(message)
                )
                if info.rc != paho.MQTT_ERR_SUCCESS:
                    return False
                if settled is not None and message.qos > 0:
                    self._unsettled[info.mid] = settled
        if fits:
            self._wake()
        if settled is not None and (not fits or message.qos == 0):
            settled(0 if fits else TOO_LARGE)
        return True

    def subscribe(self, filters: Sequence[tuple[str, int]]) -> None:
        """Ask for the messages of these topic filters, each with its highest QoS; nothing while not connected."""
        with self._lock:
            client = self._client
            if client is not None and self._up:
                client.subscribe(list(filters))
        self._wake()

    def acknowledge(self, message: Received) -> None:
        """Tell the broker that `message` is done with; nothing where it came over an earlier connection."""
        with self._lock:
            client = self._client
            if client is not None and self._up and message.connection == self.connects and message.qos > 0:
                client.ack(message.mid, message.qos)
        self._wake()

    def drop(self, reason: str) -> None:
        """End the present connection, without goodbye, and make another."""
        self._drop_reason = reason
        self._wake()

    def stop(self, seconds: float, farewell: Message | None = None) -> None:
        """Publish `farewell`, disconnect, and end, within about `seconds`.

        Where the broker does not acknowledge the farewell in time, the connection is cut instead: then the broker
        publishes the will.
        """
        deadline = time.monotonic() + seconds
        said = threading.Event()
        self._polite = farewell is None
        if farewell is not None and self.publish(farewell, lambda _: said.set()):
            self._polite = said.wait(seconds)
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(max(deadline - time.monotonic(), _GOODBYE_SECONDS))
        if not self._thread.is_alive():
            self._wake_reader.close()
            self._wake_writer.close()

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            began = time.monotonic()
            was_up, reason = self._attempt()
            if self._stopping.is_set():
                return
            steady = was_up and time.monotonic() - began >= _STEADY_SECONDS
            if steady:
                backoff.reset()
            if reason != self._problem or steady:
                log.warning("%s: %s; trying again", self._server, reason)
                self._told_down = True
            self._problem = reason
            self._stopping.wait(backoff.next())

    def _attempt(self) -> tuple[bool, str]:
        """One connection, from its beginning to its end: whether the broker let us in, and why it ended."""
        ear = Ear()
        try:
            client = self._session.client(self._in_flight)
            ear.listen_to(client)
        except (OSError, ValueError, WhycamError) as error:
            return False, told(error, self._server)
        was_up = False
        try:
            self._session.connect(client)
            was_up, reason = self._serve(client, ear)
        except (OSError, ValueError) as error:
            reason = told(error, self._server)
        except Exception as error:
            # paho trusts what a broker sends in places; a broker's nonsense must not end the thread.
            log.exception("%s: unexpected", self._server)
            reason = f"{type(error).__name__}: {error}"
        finally:
            self.refused = ear.refusal_code
            with self._lock:
                was_up, self._up = was_up or self._up, False
                self._client = None
                unsettled, self._unsettled = self._unsettled, {}
            if (connection := client.socket()) is not None:
                connection.close()
            if was_up:
                self._guard(partial(self._handler.disconnected, reason))
            for settled in unsettled.values():
                self._guard(partial(settled, None))
        return was_up, reason

    def _serve(self, client: paho.Client, ear: Ear) -> tuple[bool, str]:
        """Drive `client` until its connection ends."""
        self._drop_reason = None
        admit_until = time.monotonic() + CONNACK_SECONDS
        leave_at: float | None = None
        while (connection := client.socket()) is not None:
            if self._stopping.is_set():
                if not self._polite or (leave_at is not None and time.monotonic() >= leave_at):
                    return self._up, "stopped"
                if leave_at is None:
                    leave_at = time.monotonic() + _GOODBYE_SECONDS
                    client.disconnect()
            if self._drop_reason is not None:
                return self._up, self._drop_reason
            if not self._up and time.monotonic() >= admit_until:
                return False, f"accepts connections but does not answer within {CONNACK_SECONDS:.0f} s"
            self._turn(client, connection)
            if ear.admitted is not None and not self._up:
                self._admitted(client, ear.admitted)
            self._dispatch(ear)
        return self._up, ear.reason(self._server, self._session.client_id, was_up=self._up)

    def _turn(self, client: paho.Client, connection: Any) -> None:
        """Wait for something to do, a second at most, and do it."""
        wants = client.want_write()
        buffered = isinstance(connection, ssl.SSLSocket) and connection.pending() > 0
        poll = select.poll()
        poll.register(connection, select.POLLIN | (select.POLLOUT if wants else 0))
        poll.register(self._wake_reader, select.POLLIN)
        ready = dict(poll.poll(0 if buffered else 1000))
        if self._wake_reader.fileno() in ready:
            with suppress(BlockingIOError):
                while self._wake_reader.recv(4096):
                    pass
        if buffered or ready.get(connection.fileno(), 0) & ~select.POLLOUT:
            client.loop_read()
        if client.want_write():
            client.loop_write()
        client.loop_misc()
        if not client.want_write():
            self._blocked_since = None
        elif self._blocked_since is None:
            self._blocked_since = time.monotonic()

    def _admitted(self, client: paho.Client, admitted: Admission) -> None:
        if admitted.receive_maximum < self._in_flight:
            # More unacknowledged messages than the broker allows are a protocol error; paho wants to know beforehand.
            self._in_flight = admitted.receive_maximum
            self._drop_reason = f"the broker takes only {self._in_flight} messages at once"
            return
        with self._lock:
            self._client = client
            self.connects += 1
            self._up = True
            self._largest = admitted.largest_packet
            self._blocked_since = None
        if self._told_down:
            self._told_down = False
            log.info("%s: connected as %s", self._server, self._session.client_id)
        self._guard(partial(self._handler.connected, admitted.session_present))

    def _dispatch(self, ear: Ear) -> None:
        while ear.acknowledged:
            mid, code = ear.acknowledged.popleft()
            with self._lock:
                settled = self._unsettled.pop(mid, None)
            if settled is not None:
                self._guard(partial(settled, code))
        while ear.refused:
            log.warning("%s: the broker refuses a subscription: %s", self._server, ear.refused.popleft())
        while ear.received:
            message = received(ear.received.popleft(), self.connects)
            if message is not None:
                self._guard(partial(self._handler.received, message))

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            log.exception("%s: a handler failed", self._server)

    @property
    def _is_blocked(self) -> bool:
        return self._blocked_since is not None and time.monotonic() - self._blocked_since > _BLOCKED_SECONDS

    def _wake(self) -> None:
        # A full pipe will wake it as well; a closed one belongs to a connection that was stopped.
        with suppress(OSError):
            self._wake_writer.send(b"\0")
