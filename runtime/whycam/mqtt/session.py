"""A paho client as a server wants it, and messages with the properties of its protocol."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from whycam.mqtt.message import Message
from whycam.mqtt.server import Server, tls_context

CONNACK_SECONDS = 10.0
"""How long the broker may take to let us in."""
_QUEUED = 1000
_UNACKNOWLEDGED = 100
_NEW_PROPERTIES: Callable[[int], Properties] = Properties  # which has no annotations


@dataclass(frozen=True)
class Session:
    """Who connects to which server, and what the broker keeps and does for it."""

    server: Server
    client_id: str
    will: Message | None = None
    """What the broker publishes where the connection ends without goodbye."""
    seconds: int = 0
    """How long the broker keeps our subscriptions, and what comes in for them; 0: each connection begins anew."""
    manual_acknowledgement: bool = False

    def client(self, in_flight: int) -> paho.Client:
        """A client that is not connected yet, for at most `in_flight` messages under way.

        Raises OSError, ValueError or WhycamError for a password or certificate that cannot be used.
        """
        five = self.server.protocol == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            clean_session=None if five else self.seconds == 0,
            protocol=paho.MQTTv5 if five else paho.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=self.manual_acknowledgement,
        )
        client.connect_timeout = CONNACK_SECONDS
        client.max_inflight_messages_set(in_flight)
        client.max_queued_messages_set(_QUEUED)
        client.username_pw_set(self.server.username, self.server.password() if self.server.username else None)
        if self.server.tls:
            client.tls_set_context(tls_context(self.server))
        if self.will is not None:
            client.will_set(
                self.will.topic,
                self.will.payload,
                self.will.qos,
                self.will.retain,
                self.properties_of(self.will, PacketTypes.WILLMESSAGE),
            )
        return client

    def connect(self, client: paho.Client) -> None:
        """Open the connection; raises OSError."""
        arguments: dict[str, Any] = {}
        if self.server.protocol == "5":
            properties = _NEW_PROPERTIES(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = self.seconds
            if self.manual_acknowledgement:
                # What waits here for its acknowledgement is in memory.
                properties.ReceiveMaximum = _UNACKNOWLEDGED
            arguments = {"clean_start": self.seconds == 0, "properties": properties}
        client.connect(self.server.host, self.server.port, self.server.keepalive_seconds, **arguments)
        connection = client.socket()
        if isinstance(connection, socket.socket):
            # Alerts are small: they must not wait for the acknowledgement of the packet before.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def properties_of(self, message: Message, packet: int = PacketTypes.PUBLISH) -> Properties | None:
        """What goes with `message` besides its payload; None in MQTT 3.1.1."""
        if self.server.protocol != "5":
            return None
        properties = _NEW_PROPERTIES(packet)
        properties.ContentType = message.content_type
        if message.expiry_seconds is not None:
            properties.MessageExpiryInterval = message.expiry_seconds
        if message.correlation_data is not None:
            properties.CorrelationData = message.correlation_data
        if message.user_properties:
            properties.UserProperty = list(message.user_properties)
        return properties


def size_of(message: Message) -> int:
    """Bytes of the packet, or a few more."""
    properties = sum(len(name) + len(value) + 5 for name, value in message.user_properties) * 4
    return len(message.topic) + len(message.payload) + properties + len(message.correlation_data or b"") + 64
