"""A TCP road between a client and a broker that can be cut, narrowed and blocked."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType


class Proxy:
    """Forwards connections on a port of its own to `target` on this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._blocked = threading.Event()
        self._budget: int | None = None
        self._closing = False
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing = True
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """End all connections now, wherever they are in a packet."""
        with self._lock:
            doomed, self._sockets = self._sockets, set()
            self.cuts += bool(doomed)
        for connection in doomed:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def cut_after(self, sent: int) -> None:
        """End all connections once so many further bytes have gone to the broker: in the middle of a packet."""
        self._budget = sent

    def block(self) -> None:
        """Forward nothing from now on; connections stay open, as where a cable is pulled."""
        self._blocked.set()

    def unblock(self) -> None:
        """Forward again."""
        self._blocked.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target), timeout=10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            with self._lock:
                self._sockets |= {near, far}
            for source, sink, counted in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._forward, args=(source, sink, counted), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        while not self._closing:
            try:
                data = source.recv(65536)
            except OSError:
                break
            if not data:
                break
            while self._blocked.is_set() and not self._closing:
                time.sleep(0.01)
            budget = self._budget if counted else None
            try:
                sink.sendall(data if budget is None else data[:budget])
            except OSError:
                break
            if budget is not None:
                self._budget = budget - len(data)
                if self._budget <= 0:
                    self._budget = None
                    self.cut()
        for connection in (source, sink):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            with self._lock:
                self._sockets.discard(connection)
