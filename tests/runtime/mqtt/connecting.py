"""A connection, and what it reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from whycam.mqtt.connection import Connection
from whycam.mqtt.ear import Received
from whycam.mqtt.server import Server


class Record:
    """What a connection reports."""

    def __init__(self) -> None:
        self.connections: list[bool] = []
        self.ends: list[str] = []
        self.messages: list[Received] = []

    def connected(self, session_present: bool) -> None:
        self.connections.append(session_present)

    def received(self, message: Received) -> None:
        self.messages.append(message)

    def disconnected(self, reason: str) -> None:
        self.ends.append(reason)


@contextmanager
def connection(port: int, client_id: str = "device", **options: Any) -> Iterator[tuple[Connection, Record]]:
    server = {name: options.pop(name) for name in tuple(options) if name in Server.__dataclass_fields__}
    record = Record()
    made = Connection(
        Server(**{"host": "127.0.0.1", "port": port, "keepalive_seconds": 2, **server}), client_id, record, **options
    )
    made.start()
    try:
        yield made, record
    finally:
        made.stop(2)
