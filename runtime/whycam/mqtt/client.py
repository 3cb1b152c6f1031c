"""The device at the broker: there or not, what it last said, and what it listens to."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from paho.mqtt.client import topic_matches_sub

from whycam.config.models import Broker
from whycam.config.secrets import broker_password
from whycam.mqtt.connection import Connection, Settled
from whycam.mqtt.ear import Received
from whycam.mqtt.events import availability_message
from whycam.mqtt.message import Message
from whycam.mqtt.payloads import OFFLINE
from whycam.mqtt.server import Server
from whycam.mqtt.topics import Topics

log = logging.getLogger(__name__)

REFUSED = 128
"""Reason codes from here on say that the broker has not taken the message."""


class MqttClient:
    """Publishes what may be lost while the broker is away, and what is retained; the outbox's rows go through `send`.

    Retained messages are remembered, the newest of each topic, and published again at each connection: a broker that
    has lost its memory learns them anew.
    """

    def __init__(self, broker: Broker, device: str) -> None:
        """The client of `device`, not yet started."""
        self.topics = Topics(broker.root, device)
        self.reserved = (broker.root, broker.discovery_prefix)
        """What topics begin with that others take for the device's own words."""
        self.dropped = 0
        """Messages that were not sent as there was no connection, or no room."""
        self.refused = 0
        """Messages that the broker did not take."""
        self._lock = threading.Lock()
        self._retained: dict[str, Message] = {}
        self._hooks: list[Callable[[], None]] = []
        self._listeners: list[tuple[str, int, Callable[[Received], None]]] = []
        self._refusals: dict[str, int] = {}
        self._stopping = False
        self._connection = Connection(
            server_of(broker),
            broker.client_id or f"whycam-{device}",
            self,
            will=availability_message(self.topics, online=False),
        )
        # A broker may find a connection dead long after its successor was made, and then publish the will.
        self.subscribe(self.topics.availability, 1, self._on_availability)

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._connection.start()

    def stop(self, drain_seconds: float = 2.0) -> None:
        """Publish `offline` after what is under way, and disconnect, within about `drain_seconds`."""
        self._stopping = True
        self._connection.stop(drain_seconds, availability_message(self.topics, online=False))

    @property
    def is_connected(self) -> bool:
        """Whether the broker has let us in."""
        return self._connection.is_up

    @property
    def connects(self) -> int:
        """How often the broker has let us in: the number of the present connection."""
        return self._connection.connects

    @property
    def problem(self) -> str | None:
        """Why there is no connection; None while there is one, or none was tried."""
        return self._connection.problem

    def on_connect(self, hook: Callable[[], None]) -> None:
        """Call `hook` at each connection, in the connection's thread, after what is retained."""
        self._hooks.append(hook)

    def subscribe(self, topic_filter: str, qos: int, receive: Callable[[Received], None]) -> None:
        """Hand what comes in for `topic_filter` to `receive`, in the connection's thread; before `start`."""
        self._listeners.append((topic_filter, qos, receive))

    def publish(self, message: Message) -> bool:
        """Publish now; False, counted in `dropped`, where there is no connection.

        A retained message is published at each later connection too, until another of its topic takes its place.
        """
        if message.retain:
            with self._lock:
                self._retained[message.topic] = message
        done = self._connection.publish(message, partial(self._settled, message))
        if not done and not message.retain:
            self.dropped += 1
        return done

    def republish(self, topic: str) -> None:
        """Publish again what is retained under `topic`, for somebody who has lost it."""
        with self._lock:
            message = self._retained.get(topic)
        if message is not None:
            self._connection.publish(message, partial(self._settled, message))

    def send(self, message: Message, settled: Settled, connection: int) -> bool:
        """Publish now, over the connection with this number, and call `settled` once; False, and nothing done, else."""
        return self._connection.publish(message, settled, connection)

    def drop(self, reason: str) -> None:
        """End the present connection and make another."""
        self._connection.drop(reason)

    # -- the connection's handler --

    def connected(self, session_present: bool) -> None:
        """Listen, say that we are there, and what is retained."""
        self._connection.subscribe([(topic_filter, qos) for topic_filter, qos, _ in self._listeners])
        self._connection.publish(availability_message(self.topics, online=True))
        with self._lock:
            retained = list(self._retained.values())
        for message in retained:
            self._connection.publish(message, partial(self._settled, message))
        for hook in self._hooks:
            hook()

    def received(self, message: Received) -> None:
        """Hand the message on."""
        for topic_filter, _, receive in self._listeners:
            if topic_matches_sub(topic_filter, message.topic):
                receive(message)

    def disconnected(self, reason: str) -> None:
        """Forget which topics were refused: at the next connection they may not be."""
        self._refusals.clear()

    def _settled(self, message: Message, code: int | None) -> None:
        if code is None:
            return
        if code >= REFUSED:
            self.refused += 1
            if self._refusals.get(message.topic) != code:
                self._refusals[message.topic] = code
                log.error("%s: the broker refuses the message (reason code %d); check its ACL", message.topic, code)
            return
        self._refusals.pop(message.topic, None)
        if message.retain and not message.payload:
            # It has taken back what was retained: the topic is empty, and no longer ours to keep.
            with self._lock:
                if self._retained.get(message.topic) is message:
                    del self._retained[message.topic]

    def _on_availability(self, message: Received) -> None:
        if not message.retain and message.payload == OFFLINE and not self._stopping:
            self._connection.publish(availability_message(self.topics, online=True))


def server_of(broker: Broker) -> Server:
    """Where the configured broker is, and how to be let in."""
    return Server(
        broker.host,
        broker.port_number,
        broker.protocol,
        broker.keepalive_seconds,
        broker.tls,
        broker.ca_file,
        broker.certificate_file,
        broker.key_file,
        broker.username,
        partial(broker_password, broker),
    )
