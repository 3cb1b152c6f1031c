"""A subscriber with a persistent session that writes down all that arrives."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


@dataclass(frozen=True)
class Arrival:
    """A message as it came; times in seconds: `arrived` monotonic, `came` and `sent` since the epoch, the latter as the
    payload says."""

    topic: str
    payload: bytes
    retained: bool
    arrived: float
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The last level of the topic."""
        return self.topic.rpartition("/")[2]

    @property
    def came(self) -> float:
        return time.time() - (time.monotonic() - self.arrived)

    @property
    def sent(self) -> float:
        return seconds_of(self.body["time"])


def seconds_of(stamp: str) -> float:
    """RFC 3339 to seconds since the epoch."""
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


class Subscriber:
    """Subscribes to everything at QoS 1, and stays subscribed while it is away."""

    def __init__(self, host: str, port: int, *, user: str | None = None, password: str | None = None) -> None:
        """Connect to the broker at `host` and `port`."""
        self.arrivals: list[Arrival] = []
        self._changed = threading.Condition()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="chaos-subscriber", protocol=mqtt.MQTTv5)
        self._client.username_pw_set(user, password)
        self._client.reconnect_delay_set(0.1, 0.5)
        self._client.on_connect = self._subscribe
        self._client.on_message = self._take
        self._subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_disconnect = lambda *_: self._subscribed.clear()
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 86400
        self._client.connect_async(host, port, keepalive=120, clean_start=False, properties=session)

    def start(self) -> None:
        """Connect, and wait until subscribed."""
        self._client.loop_start()
        if not self._subscribed.wait(30):
            raise RuntimeError("the subscriber finds no broker")

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def subscribed(self, seconds: float = 30) -> bool:
        """Wait until it is connected and subscribed."""
        return self._subscribed.wait(seconds)

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, properties: Properties | None = None
    ) -> None:
        """Send a command; returns when the broker has it."""
        self._client.publish(topic, payload, 1, retain, properties).wait_for_publish(30)

    def since(self, index: int) -> list[Arrival]:
        """What has arrived after the first `index` messages."""
        with self._changed:
            return self.arrivals[index:]

    def wait_for(self, found: Callable[[Arrival], bool], seconds: float, start: int = 0) -> Arrival | None:
        """The first message for which `found`, of those after the first `start`; None where none comes in time."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for arrival in self.arrivals[start:]:
                    if found(arrival):
                        return arrival
                start = len(self.arrivals)
                if not self._changed.wait(max(deadline - time.monotonic(), 0)):
                    return None

    def _subscribe(self, client: mqtt.Client, *_: object) -> None:
        client.subscribe([(topic, mqtt.SubscribeOptions(qos=1)) for topic in ("whycam/#", "answers/#")])

    def _take(self, _: mqtt.Client, __: object, message: mqtt.MQTTMessage) -> None:
        if message.topic.endswith(("/set", "/explain", "/install")):
            return  # what was sent to the service
        body: dict[str, Any] = {}
        if message.payload.startswith(b"{"):
            try:
                body = json.loads(message.payload)
            except ValueError:
                body = {}
        arrival = Arrival(message.topic, message.payload, bool(message.retain), time.monotonic(), body)
        with self._changed:
            self.arrivals.append(arrival)
            self._changed.notify_all()
