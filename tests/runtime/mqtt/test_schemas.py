"""The documents say what the code does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from whycam.mqtt.payloads import COMMANDS, PUBLISHED
from whycam.mqtt.schemas import MODELS, asyncapi, files, schema, yaml_lines

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
