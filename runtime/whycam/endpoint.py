"""`/metrics` for Prometheus and `/healthz` for whoever watches the process, over HTTP."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from whycam.errors import InputError

Health = Callable[[], tuple[bool, dict[str, Any]]]
"""Whether the process does its work, and what else is told of it."""


class Endpoint:
    """The HTTP server, in a thread of its own."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry, health: Health, advice: str) -> None:
        """Listen on `host` and `port` (0: any free one); raises InputError with `advice` where that cannot be."""
        metrics = make_wsgi_app(registry)

        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            path = environ.get("PATH_INFO", "")
            if path == "/metrics":
                return list(metrics(environ, start))
            if path != "/healthz":
                start("404 Not Found", [("Content-Type", "text/plain")])
                return [b"/metrics and /healthz are here\n"]
            healthy, told = health()
            start("200 OK" if healthy else "503 Service Unavailable", [("Content-Type", "application/json")])
            return [json.dumps({"healthy": healthy, **told}).encode() + b"\n"]

        try:
            self._server = make_server(
                host, port, answer, server_class=_Server6 if ":" in host else _Server, handler_class=_Quiet
            )
        except OSError as error:
            raise InputError(
                f"metrics: {host}:{port} cannot be listened on ({error.strerror}); choose {advice}"
            ) from error
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(1.0)


class _Server(WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = 5.0
    """A reader that says nothing must not keep the next one waiting."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: whoever reads the metrics does it every few seconds."""
