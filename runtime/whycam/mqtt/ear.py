"""What a paho client calls back, collected until it is safe to act on it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from whycam.mqtt.server import Server, refusal

_TAKEN_OVER = 142
_REFUSED = 128


@dataclass(frozen=True)
class Received:
    """A message from the broker."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    response_topic: str | None = None
    correlation_data: bytes | None = None
    mid: int = 0
    connection: int = 0
    """Which connection it came over: on another one its number means nothing."""


@dataclass(frozen=True)
class Admission:
    """What the broker said when it let us in."""

    session_present: bool
    receive_maximum: int
    largest_packet: int | None


class Ear:
    """Collects what a paho client calls back.

    paho calls back with its own locks held: whatever may take another lock waits until the call has returned.
    """

    def __init__(self) -> None:
        self.admitted: Admission | None = None
        self.acknowledged: deque[tuple[int, int]] = deque()
        self.received: deque[paho.MQTTMessage] = deque()
        self.refused: deque[str] = deque()
        self._refusal: ReasonCode | None = None
        self._ended: tuple[bool, ReasonCode] | None = None

    @property
    def refusal_code(self) -> int | None:
        """The reason code with which the broker did not let us in."""
        return None if self._refusal is None else int(self._refusal.value)

    def listen_to(self, client: paho.Client) -> None:
        """Be called back by `client`."""
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = lambda _client, _data, message: self.received.append(message)
        client.on_subscribe = self._on_subscribe
        # Set, it keeps paho from writing to the socket in the thread that publishes.
        client.on_socket_register_write = lambda _client, _data, _socket: None

    def reason(self, server: Server, client_id: str, *, was_up: bool) -> str:
        """Why the connection has ended."""
        if self._refusal is not None:
            return refusal(self._refusal, server)
        if self._ended is None:
            return "connection lost"
        by_broker, code = self._ended
        if by_broker and code.value == _TAKEN_OVER:
            return (
                f"another client has taken over the session '{client_id}': if this repeats, two devices have the same "
                "name or client_id; give each its own"
            )
        if by_broker:
            return f"closed by the broker ({code.getName()})"
        if code.getName() == "Keep alive timeout":
            return "connection lost (no answer: frozen or out of reach)"
        if not was_up:
            hint = "; does it ask for a client certificate?" if server.tls and server.certificate_file is None else ""
            return f"the broker closed the connection before it answered{hint}"
        return "connection lost"

    def _on_connect(
        self,
        _client: object,
        _data: object,
        flags: paho.ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if code.is_failure:
            self._refusal = code
            return
        self.admitted = Admission(
            flags.session_present,
            int(getattr(properties, "ReceiveMaximum", None) or 65535),
            getattr(properties, "MaximumPacketSize", None),
        )

    def _on_disconnect(
        self, _client: object, _data: object, flags: paho.DisconnectFlags, code: ReasonCode, _properties: object
    ) -> None:
        if self._ended is None:
            self._ended = (flags.is_disconnect_packet_from_server, code)

    def _on_publish(self, _client: object, _data: object, mid: int, code: ReasonCode, _properties: object) -> None:
        self.acknowledged.append((mid, int(code.value)))

    def _on_subscribe(
        self, _client: object, _data: object, _mid: int, codes: list[ReasonCode], _properties: object
    ) -> None:
        self.refused.extend(code.getName() for code in codes if code.value >= _REFUSED)


def received(message: paho.MQTTMessage, connection: int) -> Received | None:
    """The message that came over the connection numbered so; None where its topic is no text."""
    try:
        topic = message.topic
    except UnicodeDecodeError:
        return None
    properties = message.properties
    return Received(
        topic,
        bytes(message.payload),
        message.qos,
        message.retain,
        getattr(properties, "ResponseTopic", None),
        getattr(properties, "CorrelationData", None),
        message.mid,
        connection,
    )
