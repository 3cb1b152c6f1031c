"""A TCP proxy that can spoil what passes: cut a connection in the middle of a message, swallow answers, add garbage."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

Spoil = Callable[[bytes], "bytes | None"]
"""What to pass on in place of the bytes given; None: cut the connection now."""


class Cut(Exception):  # noqa: N818 - no error: an order
    """Cut the connection once these bytes have passed."""

    def __init__(self, last: bytes) -> None:
        super().__init__()
        self.last = last


class Proxy:
    """Between a client and a server of this machine."""

    def __init__(self, target: int) -> None:
        """Pass on to `target`, a port.

        `to_server` and `to_client`, where set, make for each new connection what spoils that direction.
        """
        self.to_server: Callable[[], Spoil] | None = None
        self.to_client: Callable[[], Spoil] | None = None
        self._target = target
        self._left: int | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def cut_after(self, sent: int) -> None:
        """Reset all connections once so many further bytes have gone to the server: in the middle of a packet."""
        self._left = sent

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Reset all connections."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._drop(pair)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            for source, sink, make in ((client, server, self.to_server), (server, client, self.to_client)):
                spoil = make() if make is not None else None
                threading.Thread(target=self._pass, args=(pair, source, sink, spoil), daemon=True).start()

    def _pass(
        self, pair: tuple[socket.socket, socket.socket], source: socket.socket, sink: socket.socket, spoil: Spoil | None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if spoil is not None:
                    try:
                        passed = spoil(data)
                    except Cut as cut:
                        sink.sendall(cut.last)
                        break
                    if passed is None:
                        break
                    data = passed
                if self._left is None or source is not pair[0]:
                    sink.sendall(data)
                    continue
                sink.sendall(data[: self._left])
                self._left -= len(data)
                if self._left <= 0:
                    self._left = None
                    self.cut()
        self._drop(pair)

    def _drop(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for end in pair:
            with contextlib.suppress(OSError):
                # Linger 0: a reset, as a broken network gives, and no orderly end.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Packets:
    """Bytes of one direction of an MQTT connection, as whole packets."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The packets that `data` completes."""
        self._rest += data
        while True:
            size = _packet_size(self._rest)
            if size is None or len(self._rest) < size:
                return
            packet, self._rest = self._rest[:size], self._rest[size:]
            yield packet


def is_publish(packet: bytes, topic_end: bytes = b"") -> bool:
    """Whether it is a PUBLISH to a topic that ends in `topic_end`."""
    return packet[0] >> 4 == 3 and topic(packet).endswith(topic_end)


def is_puback(packet: bytes) -> bool:
    return packet[0] >> 4 == 4


def topic(packet: bytes) -> bytes:
    """The topic of a PUBLISH."""
    start = 1
    while packet[start] & 0x80:
        start += 1
    length = int.from_bytes(packet[start + 1 : start + 3], "big")
    return packet[start + 3 : start + 3 + length]


def _packet_size(data: bytes) -> int | None:
    size, shift = 0, 0
    for place, byte in enumerate(data[1:5], 1):
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return place + 1 + size
    return None
