"""The documents say what the code does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.mqtt.broker import Broker
from tests.runtime.mqtt.collector import Collector, until
from tests.runtime.mqtt.conftest import config_for
from whycam.mqtt.client import MqttClient
from whycam.mqtt.homeassistant import discovery_message
from whycam.mqtt.message import Message
from whycam.mqtt.payloads import COMMANDS, PUBLISHED
from whycam.mqtt.schemas import MODELS, asyncapi, files, schema, yaml_lines
from whycam.mqtt.topics import Topics

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
PAGES = (REFERENCE / "mqtt.md", REFERENCE.parent / "howto" / "subscribe.md")


@pytest.mark.parametrize("name", files())
def test_the_documents_are_what_the_code_generates(name: str) -> None:
    assert (REFERENCE / name).read_text(encoding="utf-8") == files()[name], (
        "run `python -m whycam.mqtt.schemas docs/reference`"
    )


def test_no_schema_is_left_from_an_older_contract() -> None:
    assert {f"schemas/{path.name}" for path in (REFERENCE / "schemas").iterdir()} == set(files()) - {"asyncapi.yaml"}


def test_every_payload_has_a_schema() -> None:
    assert set(MODELS.values()) == {*PUBLISHED, *COMMANDS}


@pytest.mark.parametrize("name", MODELS)
def test_every_key_is_explained_and_commands_are_closed(name: str) -> None:
    made = schema(name)
    assert made["description"]
    assert (made.get("additionalProperties") is False) == (MODELS[name] in COMMANDS)
    assert "schema_name" not in made["properties"]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_reference_leads_somewhere() -> None:
    document = asyncapi()
    found = list(references(document))
    assert found
    for reference in found:
        path, _, pointer = reference.partition("#/")
        if path:
            assert path in files()
        target: Any = document
        for part in pointer.split("/") if pointer else ():
            target = target[part]
        assert target


def test_yaml_keeps_structure_and_quotes() -> None:
    value = {"a: b": [1, {"c": "x\n- y", "d": {}}, []], "e": {"f": None, "g": True}}
    assert "\n".join(yaml_lines(value)).splitlines() == [
        '"a: b":',
        "  - 1",
        "  -",
        '    "c": "x\\n- y"',
        '    "d": {}',
        "  - []",
        '"e":',
        '  "f": null',
        '  "g": true',
    ]


def examples() -> list[tuple[str, str]]:
    """The JSON examples of the pages: the name of the schema, and the text."""
    marked = re.compile(r"<!-- ([a-z.]+) -->\s*```json\n(.*?)```", re.DOTALL)
    return [found for page in PAGES for found in marked.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("name", "text"), examples(), ids=[name for name, _ in examples()])
def test_examples_hold(name: str, text: str) -> None:
    data = json.loads(text)
    payload = MODELS[name].model_validate_json(text)
    # Where an example has a key that there is not, it would be ignored.
    assert set(data) <= set(schema(name)["properties"])
    assert payload.model_dump(mode="json", by_alias=True, exclude_unset=True) == data


def test_every_payload_has_an_example() -> None:
    assert {name for name, _ in examples()} == set(MODELS)


def test_the_access_list_lets_each_do_its_part_and_no_more(start_broker: Callable[..., Broker]) -> None:
    text = PAGES[0].read_text(encoding="utf-8").partition("## Rights")[2]
    acl = "\n".join(line.strip() for line in text.splitlines() if line.startswith("    ") or not line)
    broker = start_broker(passwords=dict.fromkeys(("gate", "guard", "operator"), "x"), acl=acl)
    topics = Topics("whycam", "gate")
    config = config_for(broker.port, username="gate")
    device = MqttClient(config.model_copy(update={"password_file": _password(broker.directory)}), "gate")
    commands: list[str] = []
    device.subscribe(topics.set("+"), 1, lambda message: commands.append(message.topic))
    device.start()
    with (
        Collector(broker.port, "whycam/#", user="guard", password="x") as guard,
        Collector(broker.port, user="operator", password="x") as operator,
    ):
        guard.wait_for(topics.availability)
        guard.publish(topics.set("door"), b"{}")
        operator.publish(topics.alert("door"), b"forged")
        operator.publish(topics.set("yard"), b"{}")
        until(lambda: commands, "the operator's command")
        device.publish(Message(topics.alert("door"), b"true"))
        device.publish(discovery_message("homeassistant", topics, "1", {}))
        guard.wait_for(topics.alert("door"))
    device.stop()
    assert commands == [topics.set("yard")]
    assert guard.payloads(topics.alert("door")) == [b"true"]
    assert device.refused == 0


def _password(directory: Path) -> Path:
    path = directory / "gate.password"
    path.write_text("x")
    path.chmod(0o600)
    return path
