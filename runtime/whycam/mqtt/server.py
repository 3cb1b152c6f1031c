"""Where a broker is, how to be let in, and what went wrong in words that an operator can act on."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from paho.mqtt.reasoncodes import ReasonCode

_BAD_CREDENTIALS = (134, 135)
_UNSUPPORTED_PROTOCOL = 132


@dataclass(frozen=True)
class Server:
    """Where a broker is, and how to be let in."""

    host: str
    port: int
    protocol: Literal["5", "3.1.1"] = "5"
    keepalive_seconds: int = 15
    tls: bool = False
    ca_file: Path | None = None
    """The CA to trust; None: the system's."""
    certificate_file: Path | None = None
    key_file: Path | None = None
    username: str | None = None
    password: Callable[[], str | None] = lambda: None
    """Asked before each attempt, so that a corrected password is found without a restart."""

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def tls_context(server: Server) -> ssl.SSLContext:
    """What to trust and to show; read anew each time, so that renewed certificates are taken up. Raises OSError."""
    for file in (server.ca_file, server.certificate_file, server.key_file):
        if file is not None:
            # What ssl raises does not name the file.
            file.open().close()
    context = ssl.create_default_context(cafile=str(server.ca_file) if server.ca_file else None)
    if server.certificate_file is not None:
        context.load_cert_chain(server.certificate_file, server.key_file)
    return context


def refusal(code: ReasonCode, server: Server) -> str:
    """Why the broker did not let us in."""
    name = code.getName()
    if code.value in _BAD_CREDENTIALS:
        who = f"user '{server.username}'" if server.username else "a client without user name"
        return f"the broker refuses {who}: {name.lower()}; check user name and password"
    if code.value == _UNSUPPORTED_PROTOCOL:
        return f"the broker does not speak MQTT {server.protocol}; set another protocol"
    return f"the broker refuses the connection: {name.lower()}"


def told(error: Exception, server: Server) -> str:
    """Why there was no connection, in one line without secrets."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return f"host '{server.host}' is not known"
    if isinstance(error, TimeoutError):
        return "no answer (timed out)"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror.lower()
    return " ".join(str(error).split())
