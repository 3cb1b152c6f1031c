"""Each message is as the reference says: its topic, how the broker is to treat it, and its CloudEvents attributes."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whycam.errors import InputError
from whycam.mqtt import events
from whycam.mqtt.message import Message
from whycam.mqtt.payloads import (
    AlertPayload,
    DisagreementPayload,
    ErrorPayload,
    ExplainResponse,
    ScorePayload,
    SetResult,
    ShadowPayload,
    StatePayload,
    TelemetryPayload,
    timestamp,
)
from whycam.mqtt.topics import Topics

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "mqtt.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(whycam/[^`]+)` \| (\d) \| ([^|]+?) +\| *([^|]*?) *\|", PAGE, re.MULTILINE)
TOPICS = Topics("whycam", "gate")
EPISODE = "019ab2c4-7d1e-7c3a-9b52-0f6a1f0e8d11"
TIME = "2026-11-23T18:36:15.123Z"


def example(name: str) -> str:
    found = re.search(rf"<!-- {re.escape(name)} -->\n```json\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


ALERT = AlertPayload.model_validate_json(example("alert"))
STATE = StatePayload.model_validate_json(example("state"))
SCORE = ScorePayload.model_validate_json(example("score"))
SHADOW = ShadowPayload.model_validate_json(example("shadow"))
DISAGREEMENT = DisagreementPayload.model_validate_json(example("shadow.disagreement"))
TELEMETRY = TelemetryPayload.model_validate_json(example("telemetry"))
SET = SetResult.model_validate_json(example("set.result"))
EXPLAINED = ExplainResponse.model_validate_json(example("explain.response"))
ERROR = ErrorPayload.model_validate_json(example("error"))

# Message, CloudEvents type, source, time, subject.
CASES: dict[str, tuple[Message, str, str, str, str | None]] = {
    "alert": (events.alert_message(TOPICS, ALERT), "alert.raised", "/whycam/gate/door", TIME, "fire"),
    "alert/ID/heatmap": (
        events.heatmap_message(TOPICS, "door", EPISODE, b"\xff\xd8", TIME),
        "alert.heatmap",
        "/whycam/gate/door",
        TIME,
        EPISODE,
    ),
    "state": (events.state_message(TOPICS, STATE), "state", "/whycam/gate/door", TIME, None),
    "score": (events.score_message(TOPICS, SCORE), "score", "/whycam/gate/door", TIME, None),
    "shadow": (events.shadow_message(TOPICS, SHADOW), "shadow", "/whycam/gate/door", TIME, None),
    "shadow/disagreement": (
        events.disagreement_message(TOPICS, DISAGREEMENT),
        "shadow.disagreement",
        "/whycam/gate/door",
        TIME,
        "fire",
    ),
    "telemetry": (events.telemetry_message(TOPICS, TELEMETRY), "telemetry", "/whycam/gate", TIME, None),
    "set/response": (
        events.response_message(TOPICS, TOPICS.set_response("door"), SET, b"\0\xff"),
        "set.result",
        "/whycam/gate/door",
        TIME,
        None,
    ),
    "explain/response": (
        events.response_message(TOPICS, TOPICS.explain_response("door"), EXPLAINED, None),
        "explain.response",
        "/whycam/gate/door",
        "2026-11-23T18:36:20.002Z",
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_message_is_treated_as_the_table_of_topics_says(name: str) -> None:
    message = CASES[name][0]
    rows = [row for row in ROWS if row[0] in (f"whycam/DEVICE/CAMERA/{name}", f"whycam/DEVICE/{name}")]
    ((topic, qos, retained, expires),) = rows
    assert message.topic == topic.replace("DEVICE", "gate").replace("CAMERA", "door").replace("ID", EPISODE)
    assert message.qos == int(qos)
    assert message.retain == (retained == "yes")
    assert message.expiry_seconds == (int(expires.removesuffix(" s")) if expires.endswith(" s") else None)


@pytest.mark.parametrize("name", CASES)
def test_the_attributes_are_those_of_the_payload_in_full(name: str) -> None:
    message, kind, source, time, subject = CASES[name]
    attributes = dict(message.user_properties)
    assert len(attributes) == len(message.user_properties)
    number = attributes.pop("id")
    assert UUID(number).version == 7
    assert number == ALERT.event_id or name != "alert"
    wanted = {"specversion": "1.0", "source": source, "type": f"io.whycam.{kind}", "time": time}
    assert attributes == (wanted if subject is None else {**wanted, "subject": subject})
    assert message.content_type == ("image/jpeg" if name.endswith("heatmap") else "application/json")


@pytest.mark.parametrize("phase", ["raised", "updated", "cleared"])
def test_the_type_names_the_phase_and_a_repetition_has_the_same_id(phase: str) -> None:
    payload = ALERT.model_copy(update={"phase": phase})
    first, again = (events.alert_message(TOPICS, payload) for _ in range(2))
    assert first == again
    assert dict(first.user_properties)["type"] == f"io.whycam.alert.{phase}"


def test_availability_is_plain_text_and_a_state_is_taken_back_by_nothing() -> None:
    for online, word in ((True, b"online"), (False, b"offline")):
        message = events.availability_message(TOPICS, online=online)
        assert message == Message("whycam/gate/availability", word, 1, True, content_type="text/plain")
    gone = events.no_state_message(TOPICS, "door")
    assert (gone.topic, gone.payload, gone.retain) == ("whycam/gate/door/state", b"", True)


def test_an_error_goes_where_it_was_asked_for_with_what_the_request_carried() -> None:
    message = events.response_message(TOPICS, "answers/1", ERROR, b"\0\xff")
    assert (message.topic, message.correlation_data, message.expiry_seconds) == ("answers/1", b"\0\xff", 60)
    assert dict(message.user_properties)["type"] == "io.whycam.error"
    assert json.loads(message.payload)["schema"] == "whycam.error/1"


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 4_000_000_000_000))
def test_a_time_is_rfc_3339_and_keeps_its_milliseconds(milliseconds: int) -> None:
    # Half a millisecond more, as a float may hold a whole one as slightly less.
    told = timestamp((milliseconds + 0.5) / 1000)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told)
    seconds = datetime.strptime(told, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).timestamp()
    assert round(seconds * 1000) == milliseconds


@pytest.mark.parametrize("root", ["", "/a", "a/", "a//b", "$SYS", "a/+", "#", "a\n", "a\0", "a" * 129])
def test_a_root_that_cannot_begin_a_topic_is_refused(root: str) -> None:
    with pytest.raises(InputError, match="root"):
        Topics(root, "gate")


@pytest.mark.parametrize("device", ["", "a/b", "+", "#", "a b", "gate\n", "ä", "a" * 65])
def test_a_device_must_be_one_level_of_a_topic(device: str) -> None:
    with pytest.raises(InputError, match="device"):
        Topics("site/whycam", device)
