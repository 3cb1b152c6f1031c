"""Home Assistant is told of every entity once, with topics that are published and templates that hold."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.mqtt.broker import Broker, missing
from tests.runtime.mqtt.collector import Collector, until
from tests.runtime.mqtt.conftest import config_for
from tests.runtime.service.running import Running
from whycam.mqtt.client import MqttClient
from whycam.mqtt.homeassistant import discovery_message, discovery_topic, entities, no_discovery_message
from whycam.mqtt.payloads import SetCommand
from whycam.mqtt.topics import Topics
from whycam.service.settings import Settings

TOPICS = Topics("whycam", "gate")
CAMERAS = {"door": ("fire", 'a "strange" class'), "yard": ("fire",)}
TIME = "2026-11-23T18:36:15.123Z"


def announced(gone: dict[str, str] | None = None) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(discovery_message("homeassistant", TOPICS, "1.2", CAMERAS, gone).payload)
    return config


def render(key: str, payload: dict[str, Any], template: str = "value_template", **names: Any) -> str:
    """What Home Assistant makes of `payload`."""
    jinja2 = pytest.importorskip("jinja2", reason="Home Assistant renders its templates with jinja2")
    text = announced()["components"][key][template]
    return str(jinja2.Environment().from_string(text).render(value_json=payload, **names))


def test_the_message_has_what_device_discovery_asks_for() -> None:
    message = discovery_message("homeassistant", TOPICS, "1.2", CAMERAS)
    config = announced()
    assert message.topic == "homeassistant/device/whycam/gate/config"
    assert message.retain
    assert config["device"]["identifiers"] == ["whycam/gate"]
    assert config["origin"]["name"] == "whycam"
    assert config["availability_topic"] == TOPICS.availability
    for component in config["components"].values():
        assert {"platform", "unique_id", "name"} <= set(component)


def test_ids_are_unique_even_where_names_look_alike() -> None:
    found = entities(TOPICS, {"a": ("b", "b_c"), "a_b": ("c",), "a-b": ("c",)})
    ids = [component["unique_id"] for component in found.values()]
    assert len(set(ids)) == len(ids)


def test_topics_are_the_devices_own() -> None:
    known = {TOPICS.telemetry, TOPICS.availability}
    for camera in CAMERAS:
        known |= {TOPICS.state(camera), TOPICS.score(camera), TOPICS.alert(camera), TOPICS.heatmap(camera, "+")}
    for component in announced()["components"].values():
        for key, topic in component.items():
            if key.endswith("_topic") and key != "command_topic":
                assert topic in known
        assert component.get("command_topic") in (None, TOPICS.set("door"), TOPICS.set("yard"))


def test_an_alert_moves_its_own_class_only() -> None:
    alert = {"phase": "raised", "label": "fire"}
    assert render("door.active.fire", alert) == "ON"
    assert render("door.active.fire", {**alert, "phase": "cleared"}) == "OFF"
    assert render('door.active.a "strange" class', alert) == ""
    assert render('door.active.a "strange" class', {**alert, "label": 'a "strange" class'}) == "ON"


def test_an_alert_is_an_event_with_its_particulars() -> None:
    keys = ("id", "label", "score", "peak", "onset", "time", "duration_seconds", "reason")
    event = json.loads(render("door.alert", {"phase": "updated", **dict.fromkeys(keys, 1)}))
    assert event.pop("event_type") in announced()["components"]["door.alert"]["event_types"]
    assert set(event) == set(keys)


def test_scores_and_state_are_read_cold_or_warm() -> None:
    assert render("door.score.fire", {"scores": {"fire": 0.25}}) == "0.25"
    assert render("door.score.fire", {"scores": {}}) == "None"
    assert render("door.armed", {"armed": False}) == "disarmed"
    assert render(".temperature", {"temperatures_celsius": {}}) == "None"
    assert render(".temperature", {"temperatures_celsius": {"a": 40.0, "b": 51.5}}) == "51.5"
    assert render(".disk", {"outbox": {"problem": "full"}}) == "ON"


@pytest.mark.parametrize("label", CAMERAS["door"])
def test_what_it_sends_is_a_command(label: str) -> None:
    sent = render(f"door.threshold.{label}", {}, "command_template", value=0.35)
    assert SetCommand.model_validate_json(sent).thresholds == {label: 0.35}
    switch = announced()["components"]["door.armed"]
    assert SetCommand.model_validate_json(switch["payload_on"]).armed is True
    assert SetCommand.model_validate_json(switch["payload_off"]).armed is False


def test_an_entity_that_is_gone_is_named_with_its_platform_alone() -> None:
    components = announced({"old.alert": "event", "door.alert": "event"})["components"]
    assert components["old.alert"] == {"platform": "event"}
    assert "state_topic" in components["door.alert"]


def test_what_was_announced_outlives_a_restart(tmp_path: Path) -> None:
    Settings(tmp_path / "settings.json").keep_entities({"door.alert": "event"})
    assert Settings(tmp_path / "settings.json").entities == {"door.alert": "event"}


@pytest.fixture
def client(broker: Broker) -> Iterator[MqttClient]:
    client = MqttClient(config_for(broker.port), "gate")
    yield client
    client.stop(1.0)


def test_it_is_retained_and_comes_again_on_request(broker: Broker, client: MqttClient) -> None:
    topic = discovery_topic("homeassistant", TOPICS)
    client.publish(discovery_message("homeassistant", TOPICS, "1.2", CAMERAS))
    client.start()
    with Collector(broker.port, topic) as listener:
        assert json.loads(listener.wait_for(topic)[0].payload) == announced()
        until(lambda: client.is_connected, "the connection")
        count = len(listener.on(topic))
        client.republish(topic)
        listener.wait_for(topic, count + 1)
    with Collector(broker.port, topic) as late:
        assert late.wait_for(topic)[0].retain
        client.publish(no_discovery_message("homeassistant", TOPICS))
        until(lambda: b"" in late.payloads(topic), "the end of the device")


def test_the_service_announces_answers_the_birth_message_and_takes_back(tmp_path: Path) -> None:
    reason = missing()
    if reason:
        pytest.skip(reason)
    topic = "homeassistant/device/whycam/post/config"
    with Running(tmp_path, cameras=({}, {"name": "yard"})) as running, Collector(running.broker.port, topic) as home:
        first = json.loads(home.wait_for(topic)[0].payload)["components"]
        assert {"gate.alert", "yard.alert", "gate.threshold.fire"} <= set(first)
        count = len(home.on(topic))
        home.publish("homeassistant/status", b"online")
        home.wait_for(topic, count + 1)
        running.configure([{}])
        assert running.service.signal(signal.SIGHUP)
        until(lambda: home.json(topic)[-1]["components"]["yard.alert"] == {"platform": "event"}, "the removal")
        assert "state_topic" in home.json(topic)[-1]["components"]["gate.alert"]
