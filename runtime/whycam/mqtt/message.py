"""The value that is published: a topic, a payload, and how the broker is to treat them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

JSON = "application/json"
JPEG = "image/jpeg"

QoS = Literal[0, 1, 2]


@dataclass(frozen=True)
class Message:
    """One MQTT message. What only MQTT 5 can carry is left out on MQTT 3.1.1."""

    topic: str
    payload: bytes
    qos: QoS = 1
    retain: bool = False
    expiry_seconds: int | None = None
    """For how long the broker keeps it for a subscriber that is away (MQTT 5); None: without end."""
    content_type: str = JSON
    """The payload's media type (MQTT 5)."""
    user_properties: tuple[tuple[str, str], ...] = ()
    """Names and values (MQTT 5): the CloudEvents attributes."""
    correlation_data: bytes | None = None
    """What a request carried, so that its sender knows the answer (MQTT 5)."""
