"""The broker, a real Mosquitto with one thing wrong at a time: the step that fails is the right one, and names it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.doctor.certificates import reissue
from tests.runtime.doctor.conftest import checked
from tests.runtime.mqtt.broker import Broker, missing
from tests.runtime.mqtt.collector import Collector, until
from tests.runtime.mqtt.conftest import config_for
from tests.runtime.mqtt.deployed import DeployedBroker, make
from whycam.doctor import broker as examined
from whycam.doctor.installation import Installation
from whycam.doctor.report import Finding, Status
from whycam.mqtt.client import MqttClient
from whycam.mqtt.message import Message

ACL = (Path(__file__).parents[3] / "deploy" / "mosquitto" / "whycam.acl").read_text(encoding="utf-8")
Configured = Callable[..., Installation]
Start = Callable[..., Broker]


def found(installation: Installation) -> dict[str, Finding]:
    findings = [checked(finding) for finding in examined.broker(installation)]
    named = {finding.check.partition(".")[2]: finding for finding in findings}
    assert len(named) == len(findings)
    return named


def failed(installation: Installation) -> tuple[str, Finding]:
    """The one step that fails; what comes after the way to the broker is not reached."""
    ((step, finding),) = [(name, one) for name, one in found(installation).items() if one.status is Status.FAILURE]
    return step, finding


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[str], Path]:
    def write(password: str) -> Path:
        path = tmp_path / "password"
        path.write_text(password)
        path.chmod(0o600)
        return path

    return write


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_all_is_well(start_broker: Start, configured: Configured, secret: Any, protocol: str) -> None:
    broker = start_broker(passwords={"entrance": "x"}, acl=ACL, tls=True)
    settings = {"username": "entrance", "password_file": secret("x"), "tls": True, "ca_file": broker.ca_file}
    steps = found(configured(broker={"host": "127.0.0.1", "port": broker.port, "protocol": protocol, **settings}))

    assert list(steps) == ["name", "tcp", "tls", "login", "publish", "hear"]
    assert {finding.status for finding in steps.values()} == {Status.OK}
    assert steps["tls"].facts["version"].startswith("TLSv1.")
    told = "entrance may publish below whycam/entrance/" if protocol == "5" else "came back; of other topics MQTT 3.1.1"
    assert told in steps["publish"].found


def test_a_running_service_is_not_disturbed(
    start_broker: Start, configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = start_broker()
    device = MqttClient(config_for(broker.port), "entrance")
    device.start()
    try:
        until(lambda: device.is_connected, "the connection")
        with Collector(broker.port, "#") as everybody:
            until(lambda: everybody.messages, "its availability")
            for protocol in ("5", "3.1.1"):
                steps = found(configured(broker={"host": "127.0.0.1", "port": broker.port, "protocol": protocol}))
                assert {finding.status for finding in steps.values()} == {Status.OK}
            device.publish(Message("end", b"x"))
            until(lambda: everybody.messages[-1].topic == "end", "the end")
            heard = {(message.topic, message.payload) for message in everybody.messages[:-1]}
    finally:
        device.stop()

    assert {topic for topic, _ in heard} == {"whycam/entrance/availability", "whycam/entrance/doctor"}
    assert {payload for topic, payload in heard if topic.endswith("availability")} == {b"online"}
    assert device.connects == 1


def test_what_the_doctor_leaves_at_the_broker_is_that_an_absent_device_is_absent(
    start_broker: Start, configured: Configured
) -> None:
    broker = start_broker()
    found(configured(broker={"host": "127.0.0.1", "port": broker.port}))

    with Collector(broker.port, "#") as late:
        until(lambda: late.messages, "what is retained")
        late.publish("end", b"x")
        until(lambda: late.messages[-1].topic == "end", "the end")

    assert [(one.topic, one.payload) for one in late.messages[:-1]] == [("whycam/entrance/availability", b"offline")]


def test_a_name_that_is_not_known(configured: Configured) -> None:
    steps = found(configured(broker={"host": "no-such-broker.invalid"}))

    assert steps["name"].status is Status.FAILURE
    assert "no-such-broker.invalid" in steps["name"].found
    assert [steps[name].status for name in ("tcp", "login", "publish", "hear")] == [Status.SKIPPED] * 4
    assert "tls" not in steps, "it is not configured"


def test_a_port_where_nobody_listens(configured: Configured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    step, finding = failed(configured(broker={"host": "127.0.0.1", "port": port}))

    assert step == "tcp"
    assert f"nothing listens on port {port}" in finding.found


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts, reads and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    kept.append(listener.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        for connection in kept:
            connection.close()


def test_a_server_that_does_not_speak_mqtt(configured: Configured, silent: int) -> None:
    step, finding = failed(configured(seconds=5, broker={"host": "127.0.0.1", "port": silent}))

    assert step == "login"
    assert "not to MQTT: does it want TLS?" in finding.found


def test_a_server_that_does_not_speak_tls(configured: Configured, silent: int, start_broker: Start) -> None:
    step, finding = failed(configured(seconds=5, broker={"host": "127.0.0.1", "port": silent, "tls": True}))
    assert (step, "says nothing to TLS" in finding.found) == ("tls", True)

    plain = start_broker()
    step, finding = failed(configured(broker={"host": "127.0.0.1", "port": plain.port, "tls": True}))
    assert step == "tls"


def test_tls_that_is_wanted_and_not_configured(configured: Configured, start_broker: Start) -> None:
    step, finding = failed(configured(broker={"host": "127.0.0.1", "port": start_broker(tls=True).port}))

    assert step == "login"
    assert "does it want TLS?" in finding.found
    assert "tls = true" in str(finding.fix)


@pytest.mark.parametrize(
    ("wrong", "told", "fix"),
    [
        ({"address": "192.0.2.1"}, "is for another name than 127.0.0.1", "subjectAltName"),
        ({"begins": -3, "ends": -1}, "has expired", "-dates"),
        ({"begins": 1, "ends": 3}, "not valid yet", "timedatectl"),
    ],
)
def test_a_certificate_with_something_wrong(
    configured: Configured, start_broker: Start, wrong: dict[str, Any], told: str, fix: str
) -> None:
    broker = start_broker(tls=True)
    reissue(broker.directory, **wrong)
    broker.restart()

    settings = {"host": "127.0.0.1", "port": broker.port, "tls": True, "ca_file": broker.ca_file}
    step, finding = failed(configured(broker=settings))

    assert step == "tls"
    assert told in finding.found
    assert fix in str(finding.fix)


def test_a_certificate_of_somebody_else(configured: Configured, start_broker: Start) -> None:
    broker = start_broker(tls=True)
    for ca_file, told in ((None, "no authority of this system"), (broker.directory / "other.crt", "has not signed it")):
        settings = {"host": "127.0.0.1", "port": broker.port, "tls": True, "ca_file": ca_file}
        step, finding = failed(configured(broker=settings))

        assert step == "tls"
        assert told in finding.found
        assert "ca_file = " in str(finding.fix)


def test_a_file_of_tls_that_is_not_there_or_none(configured: Configured, start_broker: Start, tmp_path: Path) -> None:
    broker = start_broker(tls=True)
    (tmp_path / "empty.crt").write_text("")
    for ca_file, told in ((tmp_path / "no.crt", "no such file"), (tmp_path / "empty.crt", "cannot be used")):
        settings = {"host": "127.0.0.1", "port": broker.port, "tls": True, "ca_file": ca_file}
        step, finding = failed(configured(broker=settings))

        assert step == "tls"
        assert str(ca_file) in finding.found
        assert told in finding.found


def test_a_certificate_of_the_device_that_is_wanted(configured: Configured, start_broker: Start) -> None:
    broker = start_broker(client_certificates=True)
    there = broker.directory
    settings = {"host": "127.0.0.1", "port": broker.port, "tls": True, "ca_file": broker.ca_file}

    step, finding = failed(configured(broker=settings))
    assert (step, finding.found) == ("tls", "the broker wants a certificate of the device")
    assert "certificate_file = " in str(finding.fix)

    foreign = {"certificate_file": there / "other.crt", "key_file": there / "other.key"}
    step, finding = failed(configured(broker={**settings, **foreign}))
    assert step == "tls"
    assert "does not trust the device's certificate" in finding.found

    own = {"certificate_file": there / "client.crt", "key_file": there / "client.key"}
    assert found(configured(broker={**settings, **own}))["login"].status is Status.OK


def test_a_certificate_of_the_device_that_was_revoked(configured: Configured, tmp_path: Path) -> None:
    if reason := missing(tls=True):
        pytest.skip(reason)
    made = tmp_path / "certificates"
    for arguments in (("ca",), ("server", "127.0.0.1"), ("client", "entrance"), ("revoke", "entrance")):
        make(made, *arguments)
    own = {
        name: made / "clients" / f"entrance.{end}" for name, end in (("certificate_file", "crt"), ("key_file", "key"))
    }

    with DeployedBroker(tmp_path / "broker", "Debian", made, {"guard": "x"}) as broker:
        there = {"host": "127.0.0.1", "port": broker.certificate_port, "tls": True, "ca_file": broker.ca_file}
        step, finding = failed(configured(broker={**there, **own}))

    assert step == "tls"
    assert "has revoked the device's certificate" in finding.found


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_login_that_is_refused(start_broker: Start, configured: Configured, secret: Any, protocol: str) -> None:
    broker = start_broker(passwords={"entrance": "x"})
    there = {"host": "127.0.0.1", "port": broker.port, "protocol": protocol}

    step, finding = failed(configured(broker={**there, "username": "entrance", "password_file": secret("wr0ng")}))
    assert step == "login"
    assert "refuses user 'entrance'" in finding.found
    assert "wr0ng" not in f"{finding}"
    assert "mosquitto_passwd" in str(finding.fix)

    step, finding = failed(configured(broker=there))
    assert step == "login"
    assert "a client without user name" in finding.found
    assert "username = " in str(finding.fix)


@pytest.mark.parametrize(
    ("protocol", "answer", "status", "told"),
    [
        ("5", "2003008500", Status.WARNING, "does not take the client id 'whycam-entrance-doctor-"),
        ("3.1.1", "20020002", Status.WARNING, "does not take the client id 'whycam-entrance-doctor-"),
        ("5", "2003008800", Status.FAILURE, "server unavailable"),
        ("5", "20020001", Status.FAILURE, ""),
    ],
)
def test_what_other_brokers_answer(
    configured: Configured, protocol: str, answer: str, status: Status, told: str
) -> None:
    """Mosquitto gives one reason for all: not authorised."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        if connection.recv(1000):
                            connection.sendall(bytes.fromhex(answer))
                            connection.recv(1000)

        threading.Thread(target=refuse, daemon=True).start()
        port = listener.getsockname()[1]
        steps = found(configured(seconds=10, broker={"host": "127.0.0.1", "port": port, "protocol": protocol}))

    assert steps["login"].status is status
    assert told in steps["login"].found
    assert steps["publish"].status is Status.SKIPPED


def test_a_password_that_cannot_be_read(start_broker: Start, configured: Configured, tmp_path: Path) -> None:
    settings = {"host": "127.0.0.1", "port": start_broker().port, "username": "entrance"}

    step, finding = failed(configured(broker={**settings, "password_file": tmp_path / "none"}))

    assert step == "login"
    assert str(tmp_path / "none") in finding.found


def test_a_credential_without_its_unit_is_not_tried(
    start_broker: Start, configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    settings = {"host": "127.0.0.1", "port": start_broker().port, "username": "entrance"}

    steps = found(configured(broker={**settings, "password_credential": "broker-password"}))

    assert steps["login"].status is Status.SKIPPED
    assert steps["publish"].status is Status.SKIPPED


def test_a_user_that_is_not_called_like_the_device(start_broker: Start, configured: Configured, secret: Any) -> None:
    broker = start_broker(passwords={"gatehouse": "x"}, acl=ACL)
    settings = {"host": "127.0.0.1", "port": broker.port, "username": "gatehouse", "password_file": secret("x")}

    steps = found(configured(broker=settings))

    assert [steps[name].status for name in ("login", "publish")] == [Status.OK, Status.FAILURE]
    assert "gatehouse may not publish below whycam/entrance/" in steps["publish"].found
    assert 'device = "gatehouse"' in str(steps["publish"].fix)
    assert "topic write whycam/entrance/#" in str(steps["publish"].fix)
    assert steps["hear"].status is Status.WARNING, "nothing may be published, so nothing can be heard"


@pytest.mark.parametrize(
    ("acl", "protocol", "publish", "hear"),
    [
        ("topic write whycam/entrance/#", "5", Status.OK, Status.FAILURE),
        ("topic read whycam/entrance/#", "5", Status.FAILURE, Status.WARNING),
        ("topic readwrite whycam/entrance/availability", "5", Status.WARNING, Status.OK),
        ("topic write whycam/entrance/#", "3.1.1", Status.WARNING, Status.FAILURE),
        ("topic read whycam/entrance/#", "3.1.1", Status.WARNING, Status.FAILURE),
    ],
)
def test_an_access_list_that_lacks_something(
    start_broker: Start, configured: Configured, acl: str, protocol: str, publish: Status, hear: Status
) -> None:
    broker = start_broker(acl=f"{acl}\n")

    steps = found(configured(broker={"host": "127.0.0.1", "port": broker.port, "protocol": protocol}))

    assert (steps["publish"].status, steps["hear"].status) == (publish, hear)
    assert any("access list" in str(one.fix) or "protocol = " in str(one.fix) for one in steps.values() if one.fix)


def test_where_a_service_runs_that_cannot_be_heard_its_availability_is_left_alone(
    start_broker: Start, configured: Configured
) -> None:
    broker = start_broker(acl="topic write whycam/entrance/#\nuser auditor\ntopic read #\n")
    installation = configured(broker={"host": "127.0.0.1", "port": broker.port})
    installation.once("running", lambda: "a service")

    with Collector(broker.port, "#", user="auditor") as auditor:
        steps = found(installation)
        until(lambda: auditor.messages, "the doctor's message")

    assert steps["hear"].status is Status.FAILURE
    assert [message.topic for message in auditor.messages] == ["whycam/entrance/doctor"]
