"""A message of the outbox as a row of its table: packed with a checksum, and unpacked only where that is right."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from whycam.mqtt.message import Message

Kind = Literal["disagreement", "heatmap", "alert"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What is given up first comes first."""

OVERHEAD_BYTES = 512
"""What a row costs beside its payload, about."""


@dataclass(frozen=True)
class Row:
    """A message that waits; ids rise in the order of acceptance."""

    id: int
    camera: str
    kind: Kind
    message: Message
    created: float

    @property
    def bytes(self) -> int:
        """About what it takes on the disk."""
        return len(self.message.payload) + OVERHEAD_BYTES


def packed(row: Row) -> tuple[str, bytes, int]:
    """Head, payload and checksum, as they are stored; raises ValueError for an answer to a request."""
    head = asdict(row.message)
    payload = head.pop("payload")
    if head["correlation_data"] is not None:
        raise ValueError("answers to requests do not go through the outbox")
    text = json.dumps(head)
    return text, payload, _checksum(row.camera, row.kind, row.created, text, payload)


def unpacked(values: Sequence[Any]) -> Row | None:
    """The row that `values` are; None where they are damaged."""
    number, camera, kind, created, head, payload, checksum = values
    try:
        if kind not in KINDS or _checksum(camera, kind, created, head, payload) != checksum:
            return None
        fields = json.loads(head)
        fields["user_properties"] = tuple((name, value) for name, value in fields["user_properties"])
        return Row(number, camera, kind, Message(payload=payload, **fields), float(created))
    except (TypeError, ValueError, AttributeError, KeyError):
        return None


def _checksum(camera: str, kind: str, created: float, head: str, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(f"{camera}\0{kind}\0{created!r}\0{head}".encode()))
