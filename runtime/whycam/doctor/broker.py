"""The broker, step by step: the first that fails is the one to mend.

It is asked as the device, with the device's will left out and a client id of our own: the service's session goes on,
and what subscribers hear is nothing but that the device is as available as it was.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator

from whycam.config.models import Broker
from whycam.config.secrets import broker_password
from whycam.doctor.broker_access import Access
from whycam.doctor.broker_login import Login, LoginRefusedError
from whycam.doctor.broker_tls import tls_problem
from whycam.doctor.catalogue import CHECKS, section_of
from whycam.doctor.installation import Installation
from whycam.doctor.names import addresses_of
from whycam.doctor.report import Finding, failure, ok, skipped, warning
from whycam.doctor.service_state import running
from whycam.errors import InputError
from whycam.mqtt.client import server_of
from whycam.mqtt.server import Server
from whycam.mqtt.topics import Topics

STEPS = tuple(name for name in CHECKS if section_of(name) == "broker")
_STEP = 0.2
"""The share of the whole time that a step may take."""


def broker(installation: Installation) -> Iterator[Finding]:
    """Each step on the way to the broker, until one fails."""
    config = installation.config
    if config is None:
        return
    settings = installation.broker()
    last = None
    for finding in _steps(installation, settings, Topics(settings.root, config.device)):
        last = finding
        yield finding
    if last is not None and last.fix is not None and last.check in STEPS[:4]:
        for check in STEPS[STEPS.index(last.check) + 1 :]:
            if check != "broker.tls" or settings.tls:
                yield skipped(check, "not reached")


def _steps(installation: Installation, settings: Broker, topics: Topics) -> Iterator[Finding]:
    server = server_of(settings)
    addresses = addresses_of(server.host, server.port, installation.until(_STEP))
    if addresses is None:
        why = f"no name server answers for {server.host}"
        yield failure("broker.name", why, "resolvectl status    # see to the network's name server")
        return
    if not addresses:
        fix = f'getent hosts {server.host}    # see to the name server, or write its address: host = "..." in [broker]'
        yield failure("broker.name", f"the name {server.host} is not known", fix)
        return
    told = server.host if server.host in addresses else f"{server.host} is {addresses[0]}"
    yield ok("broker.name", told, addresses=addresses)
    refused = _tcp_problem(server, installation.until(_STEP))
    if refused is not None:
        yield failure("broker.tcp", *refused)
        return
    yield ok("broker.tcp", f"port {server.port} answers", port=server.port)
    encrypted: str | Finding | None = tls_problem(server, installation.until(_STEP)) if server.tls else None
    if isinstance(encrypted, Finding):
        yield encrypted
        return
    problem = _password_problem(installation, settings)
    try:
        if problem is None:
            login = Login(server, client_id(settings, topics.device), installation.until(_STEP))
            with login:
                yield from _encrypted(encrypted)
                who = f"as {server.username}" if server.username else "without a user name"
                yield ok("broker.login", f"let in {who}, MQTT {server.protocol}", client_id=login.client_id)
                yield from _access(installation, settings, topics, login)
            return
    except LoginRefusedError as error:
        # With TLS 1.3 a broker refuses a certificate when the handshake is over.
        tell = failure if error.certain else warning
        problem = tell(error.step, error.why, error.fix)
    if problem.check != "broker.tls":
        yield from _encrypted(encrypted)
    yield problem


def _encrypted(version: str | None) -> Iterator[Finding]:
    if version is not None:
        yield ok("broker.tls", f"{version}, the certificate is trusted and for this name", version=version)


def _access(installation: Installation, settings: Broker, topics: Topics, login: Login) -> Iterator[Finding]:
    filters = [topics.availability]
    assert installation.config is not None
    for camera in installation.config.cameras:
        filters += [topics.set(camera.name), topics.explain(camera.name)]
    if installation.config.bundles.over_the_air:
        filters.append(f"{topics.base}/bundles/install")
    access = Access(login, topics, settings.username, away=running(installation) is None)
    heard = access.hears(filters, installation.until(_STEP))
    yield access.publishes(installation.until(_STEP))
    yield heard


def client_id(settings: Broker, device: str) -> str:
    """One that the device does not have itself."""
    return f"{settings.client_id or f'whycam-{device}'}-doctor-{os.getpid()}"


def _tcp_problem(server: Server, deadline: float) -> tuple[str, str] | None:
    try:
        socket.create_connection((server.host, server.port), max(deadline - time.monotonic(), 0.5)).close()
    except ConnectionRefusedError:
        why = f"{server.host} is there, but nothing listens on port {server.port}"
        other = 8883 if server.port == 1883 else 1883
        return (
            why,
            f"sudo systemctl start mosquitto    # on the broker; or port = {other} in [broker]",
        )
    except TimeoutError:
        why = f"{server.host}:{server.port} does not answer: it is off, or a firewall is in between"
        return why, f"nc -vz -w 3 {server.host} {server.port}    # from here and from the broker's own network"
    except OSError as error:
        why = f"{server.host}:{server.port}: {(error.strerror or 'cannot be reached').lower()}"
        return why, f"ip route get $(getent hosts {server.host} | cut -d ' ' -f 1)    # see to the network"
    return None


def _password_problem(installation: Installation, settings: Broker) -> Finding | None:
    try:
        broker_password(settings)
    except InputError as error:
        if os.geteuid() not in (0, installation.user.uid) or settings.password_credential is not None:
            return skipped("broker.login", str(error), f"sudo whycam doctor -c {installation.path}")
        path, user = settings.password_file, installation.user.name
        there = path is not None and path.exists()
        fix = f"sudo chown {user}: {path}" if there else f"sudo install -m 600 -o {user} /dev/stdin {path}"
        return failure("broker.login", str(error), fix)
    return None
