"""Commands and requests: exactly right ones are obeyed, others have no effect, and are answered where that is safe."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runtime.mqtt.broker import Broker
from tests.runtime.mqtt.collector import Collector, until
from tests.runtime.mqtt.conftest import config_for
from whycam.errors import InputError
from whycam.mqtt.client import MqttClient
from whycam.mqtt.commands import CommandListener
from whycam.mqtt.payloads import (
    ErrorPayload,
    ExplainRequest,
    ExplainResponse,
    InstallCommand,
    InstallResult,
    SetCommand,
    SetResult,
)
from whycam.mqtt.requests import MAX_BYTES, RefusedError, read, response_topic
from whycam.mqtt.topics import Topics

TOPICS = Topics("whycam", "post")
RESERVED = ("whycam", "homeassistant")
SETTINGS = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Control:
    """A device with one camera, that keeps what it is told."""

    def __init__(self) -> None:
        self.commands: list[SetCommand] = []
        self.requests: list[ExplainRequest] = []
        self.orders: list[InstallCommand] = []

    def cameras(self) -> Sequence[str]:
        """One."""
        return ("gate",)

    def set(self, camera: str, command: SetCommand) -> SetResult:
        """Obey, unless the class is unknown."""
        if "theft" in (command.thresholds or {}):
            raise InputError("class 'theft': it does not raise here")
        if "crash" in (command.thresholds or {}):
            raise RuntimeError("a fault of the device")
        self.commands.append(command)
        return SetResult(
            request_id=command.request_id,
            device="post",
            camera=camera,
            time="2026-11-23T18:00:00.000Z",
            armed=bool(command.armed),
            thresholds={},
        )

    def explain(
        self, camera: str, request: ExplainRequest, reply: Callable[[ExplainResponse | ErrorPayload], None]
    ) -> None:
        """Answer twice, of which one counts."""
        self.requests.append(request)
        for _ in range(2):
            reply(
                ErrorPayload(
                    request_id=request.request_id,
                    device="post",
                    camera=camera,
                    time="2026-11-23T18:00:00.000Z",
                    code="not-ready",
                    message="the window fills",
                )
            )

    def install(self, command: InstallCommand, reply: Callable[[InstallResult | ErrorPayload], None]) -> None:
        """Answer twice, or not allow it."""
        if command.file is not None:
            raise RefusedError("forbidden", "not here")
        if command.url == "http://elsewhere":
            raise InputError("url: not from there")
        self.orders.append(command)
        for state in ("accepted", "installed"):
            reply(
                InstallResult.model_validate(
                    {
                        "request_id": command.request_id,
                        "device": "post",
                        "time": "2026-11-23T18:00:00.000Z",
                        "state": state,
                        "sha256": command.sha256,
                    }
                )
            )


class Told:
    """A device that listens, and who tells it."""

    def __init__(self, control: Control, listener: CommandListener, collector: Collector) -> None:
        self.control, self.listener, self.collector = control, listener, collector

    def ask(self, action: str, payload: bytes | str, **more: Any) -> dict[str, Any]:
        """Send, and wait for the answer."""
        answers = more.pop("answers", more.get("response_topic") or f"whycam/post/gate/{action}/response")
        before = len(self.collector.on(answers))
        self.collector.publish(f"whycam/post/gate/{action}", payload, **more)
        message = self.collector.wait_for(answers, before + 1)[before]
        self.correlation = getattr(message.properties, "CorrelationData", None)
        return dict(json.loads(message.payload))


@pytest.fixture
def told(broker: Broker) -> Iterator[Told]:
    client, control = MqttClient(config_for(broker.port), "post"), Control()
    listener = CommandListener(client, TOPICS, control)
    with Collector(broker.port, "whycam/post/+/+/response", "answers/#", "whycam/post/availability") as collector:
        client.start()
        # Said after the subscriptions: what is sent from now on is heard.
        until(lambda: b"online" in [one.payload for one in collector.on("whycam/post/availability")])
        yield Told(control, listener, collector)
    listener.stop()
    client.stop(1.0)


def test_a_right_command_is_obeyed_and_answered_with_what_holds(told: Told) -> None:
    answer = told.ask(
        "set",
        '{"armed": false, "thresholds": {"fight": 0.9}, "request_id": "a"}',
        response_topic="answers/me",
        correlation_data=b"\x00\x01",
    )
    assert (answer["schema"], answer["request_id"], answer["armed"]) == ("whycam.set.result/1", "a", False)
    assert told.correlation == b"\x00\x01"
    assert told.control.commands == [SetCommand(armed=False, thresholds={"fight": 0.9}, request_id="a")]
    # It is counted after it is answered.
    until(lambda: told.listener.obeyed == 1)
    assert told.listener.refused == 0


ORDER = {"url": "http://here", "sha256": "0" * 64, "request_id": "o"}


def order(told: Told, order: object, **more: Any) -> dict[str, Any]:
    """Send for a bundle, and wait for the first answer."""
    answers = more.get("response_topic", "whycam/post/bundles/install/response")
    before = len(told.collector.on(answers))
    told.collector.publish("whycam/post/bundles/install", json.dumps(order).encode(), **more)
    return dict(json.loads(told.collector.wait_for(answers, before + 1)[before].payload))


def test_a_bundle_that_is_sent_for_is_answered_twice(told: Told) -> None:
    first = order(told, ORDER, response_topic="answers/me", correlation_data=b"c")

    both = told.collector.wait_for("answers/me", 2)
    assert first["state"] == "accepted"
    assert [json.loads(one.payload)["state"] for one in both] == ["accepted", "installed"]
    assert [one.properties.CorrelationData for one in both] == [b"c", b"c"]
    assert told.control.orders == [InstallCommand.model_validate(ORDER)]


def test_an_order_that_may_not_be_is_refused_with_the_reason(told: Told) -> None:
    for change, code in (
        ({"url": "http://elsewhere"}, "invalid"),
        ({"url": None, "file": "/etc/passwd"}, "forbidden"),
        ({"sha256": "0" * 63}, "invalid"),
        ({"unsigned": True}, "invalid"),
        ({"file": "/both"}, "invalid"),
    ):
        refused = order(told, {**ORDER, **change})
        assert (refused["code"], refused["request_id"], refused["camera"]) == (code, "o", None)
    assert told.control.orders == []


def test_a_request_is_answered_once(told: Told) -> None:
    assert told.ask("explain", '{"label": "fight", "request_id": "b"}')["code"] == "not-ready"
    assert told.ask("explain", "{}")["request_id"] is None
    assert len(told.collector.on("whycam/post/gate/explain/response")) == 2


@pytest.mark.parametrize(
    ("payload", "code", "word"),
    [
        (b"", "invalid", "empty"),
        (b"{", "invalid", "not JSON"),
        (b"[]", "invalid", "not a JSON object"),
        (b"{}", "invalid", "nothing to set"),
        (b'{"armed": 0}', "invalid", "'armed'"),
        (b'{"armd": true}', "invalid", "did you mean 'armed'"),
        (b'{"armed": true, "armed": false}', "invalid", "a key appears twice"),
        (b'{"thresholds": {"fight": NaN}}', "invalid", "NaN"),
        (b'{"thresholds": {"fight": 1e999}}', "invalid", "fight"),
        (b'{"thresholds": {"fight": 0}}', "invalid", "fight"),
        (b'{"thresholds": {"theft": 0.5}, "request_id": "x"}', "invalid", "class 'theft'"),
        (b'{"thresholds": {"crash": 0.5}}', "failed", "see its log"),
        (b"\xef\xbb\xbf" + b'{"armed": true}', "invalid", "not JSON"),
        ('{"armed": true}'.encode("utf-16"), "invalid", "not UTF-8"),
        (b"[" * 15_000, "invalid", "nested too deep"),
        (b'{"armed": true, "request_id": "' + b"x" * MAX_BYTES + b'"}', "too-large", "bytes"),
    ],
)
def test_what_is_not_exactly_right_is_refused_with_the_reason(told: Told, payload: bytes, code: str, word: str) -> None:
    answer = told.ask("set", payload, correlation_data=b"7")
    assert (answer["schema"], answer["code"]) == ("whycam.error/1", code)
    assert word in answer["message"]
    assert told.correlation == b"7"
    assert told.control.commands == []
    assert told.listener.refused == 1


@pytest.mark.parametrize(
    "topic", ["whycam/post/gate/alert", "whycam/other/gate/set", "homeassistant/x", "whycam", "x" * 300]
)
def test_an_answer_never_goes_where_others_trust_the_device(told: Told, topic: str) -> None:
    answers = "whycam/post/gate/set/response"
    answer = told.ask("set", '{"armed": true}', response_topic=topic, answers=answers)
    assert answer["code"] == "invalid"
    assert "response topic" in answer["message"]
    assert told.control.commands == []


def test_a_retained_command_is_not_obeyed(told: Told) -> None:
    # As it comes to a device that subscribes after it was sent.
    message = {"retain": True}
    told.collector.publish("whycam/post/gate/set", '{"armed": true}', **message)
    told.collector.publish("whycam/post/bundles/install", json.dumps(ORDER), **message)
    until(lambda: told.control.commands and told.control.orders)
    told.control.commands.clear()
    late = Control()
    client = MqttClient(config_for(told.collector.client.port, client_id="late"), "post")
    listener = CommandListener(client, TOPICS, late)
    client.start()
    try:
        until(lambda: listener.refused == 2)
        assert (late.commands, late.orders) == ([], [])
    finally:
        listener.stop()
        client.stop(1.0)


def test_more_than_can_wait_are_refused_as_busy_and_the_rest_is_obeyed(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, obey = threading.Event(), threading.Event(), told.control.set

    def slowly(camera: str, command: SetCommand) -> SetResult:
        begun.set()
        go_on.wait(30)
        return obey(camera, command)

    monkeypatch.setattr(told.control, "set", slowly)
    try:
        for _ in range(40):
            told.collector.publish("whycam/post/gate/set", '{"armed": true}', response_topic="answers/me")
            assert begun.wait(30)
        # One is being obeyed, 32 wait.
        answers = told.collector.wait_for("answers/me", 7)
        assert [json.loads(answer.payload)["code"] for answer in answers] == ["busy"] * 7
    finally:
        go_on.set()
    told.collector.wait_for("answers/me", 40)
    assert (len(told.control.commands), told.listener.refused) == (33, 7)


def test_a_camera_that_is_not_there_gets_no_topic_of_its_own(told: Told) -> None:
    told.collector.publish("whycam/post/roof/set", '{"armed": true}', response_topic="answers/me")
    (answer,) = told.collector.wait_for("answers/me")
    assert json.loads(answer.payload)["code"] == "unknown-camera"
    told.collector.publish("whycam/post/roof/set", '{"armed": true}')
    until(lambda: told.listener.refused == 2)
    assert told.control.commands == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["armed", "thresholds", "request_id", "window", "label", "method", "versus", "heatmaps"])


@SETTINGS
@given(
    st.binary(max_size=100)
    | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.dictionaries(KEYS | st.text(max_size=8), JSON, max_size=4).map(lambda body: json.dumps(body).encode())
)
def test_whatever_comes_is_a_command_or_is_refused_in_plain_text(payload: bytes) -> None:
    for model in (SetCommand, ExplainRequest):
        check_reading(model, payload)


def check_reading(model: type[SetCommand] | type[ExplainRequest], payload: bytes) -> None:
    try:
        command = read(model, payload)
    except RefusedError as refusal:
        assert refusal.message.isascii()
        assert len(refusal.message) < 1000
        ErrorPayload(
            request_id=refusal.request_id,
            device="post",
            camera="gate",
            time="2026-11-23T18:00:00.000Z",
            code=refusal.code,
            message=refusal.message,
        )
    else:
        # What is obeyed says just what was sent.
        assert command.model_dump(exclude_unset=True, mode="json") == json.loads(payload)


@SETTINGS
@given(st.none() | st.text(max_size=300))
def test_a_response_topic_is_safe_or_refused(wanted: str | None) -> None:
    try:
        topic = response_topic(TOPICS, "gate", "set", wanted, RESERVED)
    except RefusedError:
        return
    assert topic == (wanted or topic)
    assert not set(topic) & set("+#\x00")
    assert not topic.startswith("$")
    own = "whycam/post/gate/set/response"
    assert topic == own or topic.startswith(f"{own}/") or topic.split("/")[0] not in RESERVED
