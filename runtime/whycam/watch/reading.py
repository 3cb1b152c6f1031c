"""From a message of the broker to what it says; whoever may publish there may also publish nonsense."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from pydantic import ValidationError

from whycam.mqtt.ear import Received
from whycam.mqtt.payloads import (
    AlertPayload,
    BundlesPayload,
    DisagreementPayload,
    DriftPayload,
    Payload,
    ScorePayload,
    ShadowPayload,
    StatePayload,
    TelemetryPayload,
)
from whycam.mqtt.topics import NAME

Kind = Literal[
    "availability", "telemetry", "bundles", "state", "drift", "score", "shadow", "disagreement", "alert", "heatmap"
]
LASTING: frozenset[Kind] = frozenset({"alert", "heatmap", "disagreement"})
"""What is sent to who was away, may come twice, and may be saved."""
_OF_DEVICES: dict[str, Kind] = {"availability": "availability", "telemetry": "telemetry", "bundles": "bundles"}
_OF_CAMERAS: dict[str, Kind] = {
    "state": "state",
    "drift": "drift",
    "score": "score",
    "shadow": "shadow",
    "alert": "alert",
}
RETAINED: frozenset[Kind] = frozenset({"availability", "bundles", "state", "drift"})
"""What the broker keeps, and an empty message takes back."""

LARGEST_BYTES = 8 * 1024 * 1024
"""A larger payload is none of a device's."""
_LARGEST_SEQUENCE = 10**9
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
JPEG = b"\xff\xd8\xff"
"""What a JPEG begins with."""
_MODELS: dict[str, type[Payload]] = {
    "telemetry": TelemetryPayload,
    "bundles": BundlesPayload,
    "state": StatePayload,
    "drift": DriftPayload,
    "score": ScorePayload,
    "shadow": ShadowPayload,
    "disagreement": DisagreementPayload,
    "alert": AlertPayload,
}


class Nonsense(Exception):  # noqa: N818 - it says what the message is
    """A message that no device of ours publishes; the text says why."""


@dataclass(frozen=True)
class Event:
    """What a device has said. Names and ids are checked, so they may become names of files."""

    kind: Kind
    topic: str
    device: str
    camera: str | None = None
    episode: str | None = None
    """Of a heat map."""
    payload: Payload | None = None
    """None for what is not JSON, and for what was taken back: it is retained, and came empty."""
    data: Any = None
    """The payload as it came: JSON, keys that we do not know included; the text of an availability, None where it was
    taken back."""
    raw: bytes = b""

    @property
    def alert(self) -> AlertPayload | None:
        """The alert, where it is one."""
        return self.payload if isinstance(self.payload, AlertPayload) else None

    @property
    def disagreement(self) -> DisagreementPayload | None:
        """The disagreement of a shadow, where it is one."""
        return self.payload if isinstance(self.payload, DisagreementPayload) else None


def filters(root: str, device: str | None) -> list[tuple[str, int]]:
    """What to subscribe to, and the highest QoS of each.

    Only alerts, heat maps and disagreements are worth the room that a broker has for a subscriber who is away: it is
    limited (Mosquitto: 1000 messages), and what it cannot hold it drops. State and availability are retained.
    """
    base = f"{root}/{device or '+'}"
    lasting = [f"{base}/+/alert", f"{base}/+/alert/+/heatmap", f"{base}/+/shadow/disagreement"]
    passing = [
        *(f"{base}/{one}" for one in ("availability", "telemetry", "bundles")),
        *(f"{base}/+/{one}" for one in ("state", "drift", "score", "shadow")),
    ]
    return [(name, 1) for name in lasting] + [(name, 0) for name in passing]


def read(root: str, message: Received) -> Event:
    """What `message` says. Raises Nonsense."""
    kind, device, camera, episode = _place(root, message.topic)
    if len(message.payload) > LARGEST_BYTES:
        raise Nonsense(f"{len(message.payload)} bytes, more than {LARGEST_BYTES}")
    event = Event(kind, message.topic, device, camera, episode, raw=message.payload)
    if kind in RETAINED and not message.payload:
        return event
    if kind == "availability":
        if message.payload not in (b"online", b"offline"):
            raise Nonsense("neither `online` nor `offline`")
        return _with(event, None, message.payload.decode())
    if kind == "heatmap":
        if not message.payload.startswith(JPEG):
            raise Nonsense("not a JPEG")
        return event
    return _with(event, *_parse(kind, device, camera, message.payload))


def _with(event: Event, payload: Payload | None, data: Any) -> Event:
    return Event(event.kind, event.topic, event.device, event.camera, event.episode, payload, data, event.raw)


def _place(root: str, topic: str) -> tuple[Kind, str, str | None, str | None]:
    levels = topic[len(root) + 1 :].split("/") if topic.startswith(f"{root}/") else []
    if not all(NAME.fullmatch(level) for level in levels):
        raise Nonsense("not a topic of a device")
    match levels:
        case [device, word] if word in _OF_DEVICES:
            return _OF_DEVICES[word], device, None, None
        case [device, camera, word] if word in _OF_CAMERAS:
            return _OF_CAMERAS[word], device, camera, None
        case [device, camera, "shadow", "disagreement"]:
            return "disagreement", device, camera, None
        case [device, camera, "alert", episode, "heatmap"]:
            if not _UUID.fullmatch(episode):
                raise Nonsense("the episode is not a UUID")
            return "heatmap", device, camera, episode
    raise Nonsense("not a topic of a device")


def _parse(kind: str, device: str, camera: str | None, raw: bytes) -> tuple[Payload, Any]:
    try:
        data = json.loads(raw.decode(), parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Nonsense(f"not JSON ({type(error).__name__}: {error})") from None
    try:
        payload = _MODELS[kind].model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the payload"
        raise Nonsense(f"no {kind}: {where}: {first['msg']}") from None
    except RecursionError:
        raise Nonsense(f"no {kind}: nested too deeply") from None
    if getattr(payload, "device", device) != device or getattr(payload, "camera", camera) != camera:
        raise Nonsense("it names another device or camera than its topic")
    if isinstance(payload, AlertPayload):
        if not (_UUID.fullmatch(payload.id) and _UUID.fullmatch(payload.event_id)):
            raise Nonsense("an id is not a UUID")
        if payload.sequence > _LARGEST_SEQUENCE:
            raise Nonsense("the sequence is out of all proportion")
    if isinstance(payload, DisagreementPayload) and not _UUID.fullmatch(payload.id):
        raise Nonsense("the id is not a UUID")
    return payload, data


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is out of range")
    return value
