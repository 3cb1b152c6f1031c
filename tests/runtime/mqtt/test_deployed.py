"""The broker's files in deploy/ with a real Mosquitto: TLS, who is let in, and what survives a restart."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.mqtt.broker import make_certificates, missing
from tests.runtime.mqtt.collector import until
from tests.runtime.mqtt.conftest import config_for
from tests.runtime.mqtt.deployed import BASES, DeployedBroker, make
from tests.runtime.mqtt.watching import ALERT, Watch, alert
from whycam.mqtt.client import MqttClient
from whycam.mqtt.homeassistant import discovery_message
from whycam.mqtt.message import Message

DEVICE = "gate"
USERS = (DEVICE, "guard", "operator")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if why := missing(passwords=True, tls=True):
        pytest.skip(why)
    directory = tmp_path_factory.mktemp("certificates")
    make(directory, "ca")
    make(directory, "server", "127.0.0.1", "broker.example")
    make(directory, "client", DEVICE)
    return directory


@pytest.fixture(params=BASES)
def broker(request: pytest.FixtureRequest, certificates: Path, tmp_path: Path) -> Iterator[DeployedBroker]:
    with DeployedBroker(tmp_path / "broker", request.param, certificates, dict.fromkeys(USERS, "x")) as running:
        yield running


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("x")
    file.chmod(0o600)
    return file


@pytest.fixture
def device(broker: DeployedBroker, password: Path) -> Iterator[Callable[..., MqttClient]]:
    """Starts the service's own client."""
    started = []

    def start(**settings: Any) -> MqttClient:
        config = config_for(**{"port": broker.port, "tls": True, "ca_file": broker.ca_file, **settings})
        client = MqttClient(config, DEVICE)
        client.start()
        started.append(client)
        return client

    yield start
    for client in started:
        client.stop()


def by_certificate(broker: DeployedBroker, certificates: Path, user: str) -> dict[str, Any]:
    files = certificates / "clients"
    return {
        "port": broker.certificate_port,
        "certificate_file": files / f"{user}.crt",
        "key_file": files / f"{user}.key",
    }


def test_a_device_comes_in_by_password_and_publishes(
    broker: DeployedBroker, device: Callable[..., MqttClient], password: Path
) -> None:
    client = device(username=DEVICE, password_file=password)
    until(lambda: client.is_connected, "the connection")
    client.publish(discovery_message("homeassistant", client.topics, "1", {}))
    client.publish(Message(ALERT, b"{}"))
    until(lambda: f"Received PUBLISH from whycam-{DEVICE}" in broker.log, "the alert at the broker")
    assert client.refused == 0
    assert "Denied PUBLISH" not in broker.log
    assert broker.database.exists()


def test_a_certificate_says_who_its_owner_is_whatever_name_he_gives(
    broker: DeployedBroker, device: Callable[..., MqttClient], certificates: Path, password: Path
) -> None:
    client = device(username="operator", password_file=password, **by_certificate(broker, certificates, DEVICE))
    until(lambda: client.is_connected, "the connection")
    client.publish(Message(ALERT, b"{}"))
    client.publish(Message("whycam/yard/door/set", b"{}"))
    until(lambda: client.refused == 1, "the refusal of what an operator may do")
    assert f"u'{DEVICE}'" in broker.log
    assert "u'operator'" not in broker.log


def test_a_wrong_password_is_refused(device: Callable[..., MqttClient], password: Path) -> None:
    password.write_text("wrong")
    client = device(username=DEVICE, password_file=password)
    assert "uthori" in until(lambda: client.problem, "the refusal")


def test_nobody_comes_in_without_a_name(device: Callable[..., MqttClient]) -> None:
    client = device()
    assert "uthori" in until(lambda: client.problem, "the refusal")


def test_a_certificate_is_needed_where_there_are_no_passwords(
    broker: DeployedBroker, device: Callable[..., MqttClient], password: Path
) -> None:
    client = device(port=broker.certificate_port, username=DEVICE, password_file=password)
    assert "certificate" in until(lambda: client.problem, "the refusal")


def test_a_certificate_of_another_authority_is_refused(
    broker: DeployedBroker, device: Callable[..., MqttClient], certificates: Path, tmp_path: Path
) -> None:
    make_certificates(tmp_path)
    files = {"certificate_file": tmp_path / "client.crt", "key_file": tmp_path / "client.key"}
    stranger = device(port=broker.certificate_port, **files)
    until(lambda: stranger.problem, "the refusal")
    assert stranger.connects == 0


def test_a_certificate_that_was_revoked_is_refused_after_a_restart(
    broker: DeployedBroker, device: Callable[..., MqttClient], certificates: Path
) -> None:
    name = f"stolen-{broker.port}"
    make(certificates, "client", name)
    stolen = by_certificate(broker, certificates, name)
    before = device(**stolen)
    until(lambda: before.is_connected, "the connection")
    make(certificates, "revoke", name)
    broker.stop()
    broker.renew_list(certificates)
    broker.start()
    good = device(client_id="good", **by_certificate(broker, certificates, DEVICE))
    until(lambda: good.is_connected, "the connection of one that was not revoked")
    after = device(client_id="after", **stolen)
    until(lambda: after.problem, "the refusal")
    assert after.connects == 0


def test_a_broker_of_another_name_is_not_trusted(broker: DeployedBroker, device: Callable[..., MqttClient]) -> None:
    client = device(host="localhost")
    assert "certificate is not trusted" in until(lambda: client.problem, "the refusal")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("listener", ["port", "certificate_port"])
def test_only_new_versions_of_tls_are_spoken(broker: DeployedBroker, certificates: Path, listener: str) -> None:
    assert speaks(broker, certificates, listener, ssl.TLSVersion.TLSv1_2)
    assert speaks(broker, certificates, listener, ssl.TLSVersion.TLSv1_3)
    assert not speaks(broker, certificates, listener, ssl.TLSVersion.TLSv1_1)


def test_what_waits_for_a_guard_survives_that_the_broker_is_killed(
    broker: DeployedBroker, device: Callable[..., MqttClient], password: Path, tmp_path: Path
) -> None:
    login = ("--password-file", str(password), "--ca-file", str(broker.ca_file), "--json")
    url = f"mqtts://guard@127.0.0.1:{broker.port}"
    watching = Watch(tmp_path, url, *login, "--client-id", "guard")
    client = device(username=DEVICE, password_file=password)
    until(lambda: watching.of("availability"), "the subscription")
    watching.end()
    written = broker.database.stat().st_mtime_ns
    client.publish(Message(ALERT, json.dumps(alert()).encode()))
    until(lambda: broker.database.stat().st_mtime_ns > written, "the alert on the broker's disk")
    broker.kill()
    broker.start()
    watching = Watch(tmp_path, url, *login, "--client-id", "guard", "--count", "1")
    watching.process.wait(30)
    assert [line["payload"]["label"] for line in watching.of("alert")] == ["fire"]


def speaks(broker: DeployedBroker, certificates: Path, listener: str, version: ssl.TLSVersion) -> bool:
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(certificates / "clients" / f"{DEVICE}.crt", certificates / "clients" / f"{DEVICE}.key")
    with socket.create_connection(("127.0.0.1", getattr(broker, listener)), 10) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="broker.example") as encrypted:
                return encrypted.version() == version.name.replace("_", ".")
        except ssl.SSLError:
            return False
