"""Being let in: passwords, sessions and certificates, and what is told where they do not do."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.mqtt.broker import Broker
from tests.runtime.mqtt.collector import until
from tests.runtime.mqtt.connecting import connection
from whycam.mqtt.message import Message


def test_a_wrong_password_is_told_once_and_its_correction_found(
    start_broker: Callable[..., Broker], caplog: pytest.LogCaptureFixture, protocol: str
) -> None:
    broker = start_broker(passwords={"gate": "right"})
    password = ["wr0ng"]
    with (
        caplog.at_level(logging.DEBUG),
        connection(broker.port, username="gate", password=lambda: password[0], protocol=protocol) as (link, _),
    ):
        until(lambda: broker.log.count("disconnected, not authorised") >= 3)
        password[0] = "right"
        until(lambda: link.is_up)
    told = [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert len(told) == 1
    assert "refuses user 'gate'" in told[0]
    assert "wr0ng" not in caplog.text


def test_a_client_that_takes_over_the_session_is_named(caplog: pytest.LogCaptureFixture) -> None:
    # Mosquitto 2.0.11 closes the connection without a word; what others say of it is played here.
    with socket.create_server(("127.0.0.1", 0)) as server, caplog.at_level(logging.WARNING):
        port = server.getsockname()[1]
        with connection(port, "gate") as (_, record):
            client, _ = server.accept()
            with client:
                client.recv(1024)
                client.sendall(bytes.fromhex("2003000000"))  # CONNACK: success
                client.sendall(bytes.fromhex("e0028e00"))  # DISCONNECT: session taken over
            until(lambda: record.ends)
    assert "another client has taken over the session 'gate'" in caplog.text


def test_tls_with_a_client_certificate(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker(client_certificates=True)
    with connection(
        broker.port,
        tls=True,
        ca_file=broker.ca_file,
        certificate_file=broker.client_certificate,
        key_file=broker.client_key,
    ) as (link, record):
        settled: list[int | None] = []
        until(lambda: link.is_up)
        link.subscribe([("big", 1)])
        link.publish(Message("big", os.urandom(3_000_000)), settled.append)
        until(lambda: settled and record.messages)
        assert settled == [0]
        assert len(record.messages[0].payload) == 3_000_000
        broker.restart()
        until(lambda: link.connects == 2)


def test_with_a_certificate_a_wrong_password_is_told_once_and_no_secret_is(
    start_broker: Callable[..., Broker], caplog: pytest.LogCaptureFixture, protocol: str
) -> None:
    broker = start_broker(client_certificates=True, passwords={"gate": "s3cret-right"})
    password = ["s3cret-wrong"]
    secure: dict[str, Any] = {
        "tls": True,
        "ca_file": broker.ca_file,
        "certificate_file": broker.client_certificate,
        "key_file": broker.client_key,
    }
    with (
        caplog.at_level(logging.DEBUG),
        connection(broker.port, username="gate", password=lambda: password[0], protocol=protocol, **secure) as (
            link,
            _,
        ),
    ):
        assert "refuses user 'gate'" in until(lambda: link.problem)
        password[0] = "s3cret-right"
        until(lambda: link.is_up)
        assert link.problem is None
    assert len([entry for entry in caplog.records if entry.levelno >= logging.WARNING]) == 1
    assert "s3cret" not in caplog.text
    assert "PRIVATE KEY" not in caplog.text


def test_a_certificate_of_another_authority_is_not_trusted(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker(tls=True)
    with connection(broker.port, tls=True, ca_file=broker.directory / "other.crt") as (link, _):
        assert "the broker's certificate is not trusted" in until(lambda: link.problem)


def test_a_missing_client_certificate_is_named(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker(client_certificates=True)
    with connection(broker.port, tls=True, ca_file=broker.ca_file) as (link, _):
        assert "client certificate" in until(lambda: link.problem)


def test_a_missing_ca_file_is_named_and_waited_for(start_broker: Callable[..., Broker], tmp_path: Path) -> None:
    broker = start_broker(tls=True)
    later = tmp_path / "later.crt"
    with connection(broker.port, tls=True, ca_file=later) as (link, _):
        assert until(lambda: link.problem) == f"{later}: No such file or directory"
        later.write_bytes(broker.ca_file.read_bytes())
        until(lambda: link.is_up)
