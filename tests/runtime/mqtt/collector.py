"""A subscriber that keeps what it gets, and a way to wait for something without guessing how long it takes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

DEADLINE = 30.0


def until(holds: Callable[[], Any], what: str = "it", seconds: float = DEADLINE) -> Any:
    """What `holds` returns once that is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about within {seconds:.0f} s")
        time.sleep(0.01)
    return value


class Collector:
    """Subscribes to `topics` at the broker on `port`, and publishes where a test wants it to."""

    def __init__(
        self,
        port: int,
        *topics: str,
        user: str | None = None,
        password: str | None = None,
        protocol: int = paho.MQTTv5,
        client_id: str = "",
        session_seconds: int = 0,
    ) -> None:
        self.messages: list[paho.MQTTMessage] = []
        five = protocol == paho.MQTTv5
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=protocol,
            clean_session=None if five else session_seconds == 0,
        )
        self.client.username_pw_set(user, password)
        self.client.reconnect_delay_set(1, 1)
        self._subscribed: list[int] = []
        self._topics = topics
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._subscribed.append(1)
        self.client.on_message = lambda _client, _data, message: self.messages.append(message)
        properties = None
        if five and session_seconds:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = session_seconds
        if five:
            self.client.connect("127.0.0.1", port, clean_start=session_seconds == 0, properties=properties)
        else:
            self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        until(lambda: self._subscribed if topics else self.client.is_connected(), "the subscription")

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        if self._topics:
            client.subscribe([(topic, 1) for topic in self._topics])

    def __enter__(self) -> Collector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def on(self, topic: str) -> list[paho.MQTTMessage]:
        """What has come on `topic` so far."""
        return [message for message in self.messages if message.topic == topic]

    def payloads(self, topic: str) -> list[bytes]:
        """The payloads that have come on `topic` so far."""
        return [message.payload for message in self.on(topic)]

    def json(self, topic: str) -> list[dict[str, Any]]:
        """The JSON that has come on `topic` so far."""
        return [json.loads(payload) for payload in self.payloads(topic)]

    def wait_for(self, topic: str, count: int = 1) -> list[paho.MQTTMessage]:
        """The messages on `topic`, once there are `count`."""
        until(lambda: len(self.on(topic)) >= count, f"{count} messages on {topic}")
        return self.on(topic)

    def publish(
        self,
        topic: str,
        payload: bytes | str,
        *,
        retain: bool = False,
        response_topic: str | None = None,
        correlation_data: bytes | None = None,
    ) -> None:
        """Publish with QoS 1, and wait until the broker has it."""
        properties = None
        if response_topic is not None or correlation_data is not None:
            properties = Properties(PacketTypes.PUBLISH)
            if response_topic is not None:
                properties.ResponseTopic = response_topic
            if correlation_data is not None:
                properties.CorrelationData = correlation_data
        self.client.publish(topic, payload, 1, retain, properties).wait_for_publish(DEADLINE)


def properties_of(message: paho.MQTTMessage) -> dict[str, str]:
    """The user properties of a message."""
    return dict(getattr(message.properties, "UserProperty", []))
