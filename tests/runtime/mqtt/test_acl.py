"""The broker's access list in deploy/, with a real Mosquitto: each user does its part, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.runtime.mqtt.broker import Broker
from tests.runtime.mqtt.collector import Collector
from tests.runtime.mqtt.deployed import FILES
from whycam.mqtt.homeassistant import discovery_topic, status_topic
from whycam.mqtt.topics import Topics

ACL = (FILES / "whycam.acl").read_text(encoding="utf-8")
DEVICE = "entrance"
TOPICS = Topics("whycam", DEVICE)
OTHER = Topics("whycam", "yard")
ROLES = ("guard", "operator", "maintainer", "metrics", "homeassistant")
USERS = (DEVICE, "newcomer", *ROLES)
ANSWERS = f"answers/{DEVICE}/desk"


def _others(role: str) -> set[str]:
    return {topic for topic in AS_A_ROLE if topic != Topics("whycam", role).availability}


PUBLISHED = (
    TOPICS.availability,
    TOPICS.telemetry,
    f"{TOPICS.base}/bundles",
    TOPICS.install_response,
    TOPICS.state("gate"),
    TOPICS.drift("gate"),
    TOPICS.score("gate"),
    TOPICS.shadow("gate"),
    f"{TOPICS.shadow('gate')}/disagreement",
    TOPICS.alert("gate"),
    TOPICS.heatmap("gate", "018f"),
    TOPICS.set_response("gate"),
    TOPICS.explain_response("gate"),
)
FIGURES = {topic for topic in PUBLISHED if not topic.endswith(("/heatmap", "/disagreement", "/response"))}
INSTALL = TOPICS.install
COMMANDS = (TOPICS.set("gate"), TOPICS.explain("gate"), INSTALL)
FOREIGN = (OTHER.alert("gate"), OTHER.availability, OTHER.set("gate"), OTHER.explain("gate"), f"{OTHER.base}/bundles")
FOREIGN_INSTALL = OTHER.install
AS_A_ROLE = tuple(Topics("whycam", role).availability for role in ROLES)
"""What would make a device of somebody who is none."""
OUTSIDE = (
    "answers/yard/desk",
    "homeassistant/device/whycam/yard/config",
    "whycam",
    "whycams/entrance/telemetry",
    "other",
)
DISCOVERY = discovery_topic("homeassistant", TOPICS)
STATUS = status_topic("homeassistant")
NEWCOMER = Topics("whycam", "newcomer").alert("gate")
ALL = (
    *(*PUBLISHED, *COMMANDS, *FOREIGN, FOREIGN_INSTALL, *AS_A_ROLE, *OUTSIDE),
    *(DISCOVERY, STATUS, ANSWERS, NEWCOMER),
)
DEVICES = {*PUBLISHED, *COMMANDS, *FOREIGN, FOREIGN_INSTALL, NEWCOMER}
"""What there is to be heard of devices."""

ORDERS = {TOPICS.set("gate"), TOPICS.explain("gate"), OTHER.set("gate"), OTHER.explain("gate")}
MAY_PUBLISH = {
    DEVICE: {*PUBLISHED, *COMMANDS, DISCOVERY, ANSWERS},
    "newcomer": {NEWCOMER},
    "guard": set(),
    "operator": ORDERS,
    "maintainer": {*ORDERS, INSTALL, FOREIGN_INSTALL},
    "metrics": set(),
    "homeassistant": {TOPICS.set("gate"), OTHER.set("gate"), DISCOVERY, STATUS, OUTSIDE[1]},
}
MAY_READ = {
    DEVICE: {TOPICS.availability, *COMMANDS, STATUS},
    "newcomer": {STATUS},
    "guard": {"whycam", *DEVICES, *_others("guard")},
    "operator": {"whycam", *DEVICES, *_others("operator"), ANSWERS, OUTSIDE[0]},
    "maintainer": {"whycam", *DEVICES, *_others("maintainer"), ANSWERS, OUTSIDE[0]},
    "metrics": {*FIGURES, *FOREIGN[:2], FOREIGN[4], NEWCOMER, *_others("metrics")},
    "homeassistant": {"whycam", *DEVICES, *_others("homeassistant"), DISCOVERY, STATUS, OUTSIDE[1]},
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
