"""The broker's files in deploy/, with a real Mosquitto: each user does its part, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.runtime.mqtt.broker import Broker
from tests.runtime.mqtt.collector import Collector, until
from tests.runtime.mqtt.conftest import config_for
from whycam.mqtt.client import MqttClient
from whycam.mqtt.homeassistant import discovery_topic, status_topic
from whycam.mqtt.message import Message
from whycam.mqtt.topics import Topics

DEPLOY = Path(__file__).parents[3] / "deploy"
ACL = (DEPLOY / "mosquitto.acl.example").read_text(encoding="utf-8")
CONF = (DEPLOY / "mosquitto.conf.example").read_text(encoding="utf-8")
DEVICE = "entrance"
TOPICS = Topics("whycam", DEVICE)
OTHER = Topics("whycam", "yard")
USERS = (DEVICE, "yard", "guard", "operator", "homeassistant", "stranger")
ANSWERS = "answers/desk"

PUBLISHED = (
    TOPICS.availability,
    TOPICS.telemetry,
    TOPICS.state("gate"),
    TOPICS.drift("gate"),
    TOPICS.score("gate"),
    TOPICS.alert("gate"),
    TOPICS.heatmap("gate", "018f"),
    TOPICS.set_response("gate"),
    TOPICS.explain_response("gate"),
)
COMMANDS = (TOPICS.set("gate"), TOPICS.explain("gate"))
FOREIGN = (OTHER.alert("gate"), OTHER.availability, OTHER.set("gate"), OTHER.explain("gate"))
DISCOVERY = discovery_topic("homeassistant", TOPICS)
STATUS = status_topic("homeassistant")
ALL = (*PUBLISHED, *COMMANDS, *FOREIGN, DISCOVERY, STATUS, ANSWERS)

MAY_PUBLISH = {
    DEVICE: {*PUBLISHED, *COMMANDS, DISCOVERY, ANSWERS},
    "guard": set(),
    "operator": {*COMMANDS, OTHER.set("gate"), OTHER.explain("gate")},
    "homeassistant": {TOPICS.set("gate"), OTHER.set("gate"), DISCOVERY, STATUS},
    "stranger": set(),
}
MAY_READ = {
    DEVICE: {TOPICS.availability, *COMMANDS, STATUS},
    "guard": {*PUBLISHED, *COMMANDS, *FOREIGN},
    "operator": {*PUBLISHED, *COMMANDS, *FOREIGN, ANSWERS},
    "homeassistant": {*PUBLISHED, *COMMANDS, *FOREIGN, DISCOVERY, STATUS},
    "stranger": set(),
}
_AUDITOR = "auditor"
_END = "end/of-test"
"""What comes on this topic comes after all that was sent before: nothing has to be waited for that must not come."""


@pytest.fixture
def broker(start_broker: Callable[..., Broker]) -> Broker:
    """With the list of deploy/, one who sees and does everything, and `end/...` for all."""
    users = "".join(f"\nuser {user}\ntopic readwrite end/#\n" for user in USERS)
    return start_broker(
        passwords=dict.fromkeys((*USERS, _AUDITOR), "x"), acl=f"{ACL}\n{users}\nuser {_AUDITOR}\ntopic readwrite #\n"
    )


@pytest.fixture
def connect(broker: Broker) -> Iterator[Callable[..., Collector]]:
    with ExitStack() as stack:

        def connected(user: str, *topics: str) -> Collector:
            return stack.enter_context(Collector(broker.port, *topics, user=user, password="x"))

        yield connected


@pytest.mark.parametrize("user", MAY_PUBLISH)
def test_a_user_publishes_its_own_and_nothing_else(connect: Callable[..., Collector], user: str) -> None:
    auditor = connect(_AUDITOR, "#")
    one = connect(user)

    for topic in (*ALL, _END):
        one.publish(topic, b"x")
    auditor.wait_for(_END)

    assert {message.topic for message in auditor.messages} - {_END} == MAY_PUBLISH[user]


@pytest.mark.parametrize("user", MAY_READ)
def test_a_user_reads_what_is_for_it_and_nothing_else(connect: Callable[..., Collector], user: str) -> None:
    one = connect(user, "#", *ALL, _END)
    auditor = connect(_AUDITOR)

    for topic in (*ALL, _END):
        auditor.publish(topic, b"x")
    one.wait_for(_END)

    assert {message.topic for message in one.messages} - {_END} == MAY_READ[user]


def test_nobody_comes_in_with_a_wrong_password(broker: Broker, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("wrong")
    password.chmod(0o600)
    device = MqttClient(config_for(broker.port, username=DEVICE, password_file=password), DEVICE)
    device.start()
    try:
        assert "uthori" in until(lambda: device.problem, "the refusal")
    finally:
        device.stop()


def test_the_example_runs_with_the_service_over_tls(start_broker: Callable[..., Broker], tmp_path: Path) -> None:
    """All of mosquitto.conf.example, with the test's port and its own files in place of those in /etc."""
    ours = ("listener", "cafile", "certfile", "keyfile", "allow_anonymous", "password_file", "acl_file", "autosave")
    lines = [line for line in CONF.splitlines() if line and not line.startswith(("#", *ours))]
    assert lines
    broker = start_broker(passwords=dict.fromkeys(USERS, "x"), acl=ACL, tls=True, settings=lines)
    password = tmp_path / "password"
    password.write_text("x")
    password.chmod(0o600)
    config = config_for(broker.port, username=DEVICE, password_file=password, tls=True, ca_file=broker.ca_file)
    device = MqttClient(config, DEVICE)
    device.start()
    try:
        until(lambda: device.is_connected, "the connection")
        device.publish(Message(TOPICS.alert("gate"), b"{}"))
        until(lambda: "Received PUBLISH from whycam-entrance" in broker.log, "the alert at the broker")
    finally:
        device.stop()
    assert device.refused == 0
    assert "Denied PUBLISH" not in broker.log
