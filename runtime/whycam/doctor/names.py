"""Names of hosts, looked up with an end: the system's resolver has none of its own."""

from __future__ import annotations

import socket
import threading
import time


def addresses_of(host: str, port: int, deadline: float) -> list[str] | None:
    """The addresses of `host`, none where it is not known; None where nobody has answered by the `deadline`."""
    found: list[str] = []

    def look() -> None:
        try:
            told = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        found.extend(dict.fromkeys(str(each[4][0]) for each in told))

    thread = threading.Thread(target=look, name="doctor name", daemon=True)
    thread.start()
    thread.join(max(deadline - time.monotonic(), 0.1))
    return None if thread.is_alive() else found
