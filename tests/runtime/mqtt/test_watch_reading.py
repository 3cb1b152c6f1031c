"""What `whycam watch` reads: any payload, topic and URL is understood or refused."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.mqtt.watching import ALERT, HOSTILE, JPEG, disagreement
from whycam.errors import InputError
from whycam.mqtt.ear import Received
from whycam.printable import printable
from whycam.watch.reading import Nonsense, read
from whycam.watch.session import Login, server_of


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE)
def test_a_payload_that_makes_no_sense_is_refused(payload: bytes) -> None:
    with pytest.raises(Nonsense) as told:
        read("whycam", Received(ALERT, payload, qos=1))
    assert len(printable(told.value)) < 10_000


@pytest.mark.parametrize(
    "topic",
    ["whycam/gate/../alert", "whycam/gate/door/alert/../heatmap", "whycam//door/alert", "other/gate/state", "x"],
)
def test_a_topic_that_makes_no_sense_is_refused(topic: str) -> None:
    with pytest.raises(Nonsense):
        read("whycam", Received(topic, JPEG))


@pytest.mark.parametrize("name", ["../../escape", "x", ""])
def test_a_disagreement_whose_id_is_no_name_is_refused(name: str) -> None:
    topic = "whycam/gate/door/shadow/disagreement"
    assert read("whycam", Received(topic, json.dumps(disagreement()).encode())).disagreement is not None
    with pytest.raises(Nonsense):
        read("whycam", Received(topic, json.dumps(disagreement(id=name)).encode()))


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_any_payload_is_read_or_refused(payload: bytes | str) -> None:
    raw = payload if isinstance(payload, bytes) else payload.encode()
    for topic in (ALERT, "whycam/gate/door/state", "whycam/gate/door/score", "whycam/gate/telemetry"):
        with suppress(Nonsense):
            read("whycam", Received(topic, raw))


@given(st.text(st.characters()))
def test_what_is_printed_does_nothing_to_a_terminal(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("mqtt://guard:secret@host", "--password-file"),
        ("http://host", "mqtt://"),
        ("mqtt://", "mqtt://"),
        ("mqtt://host:99999", "mqtt://"),
        ("mqtt://host/a/b", "device"),
        ("mqtt://host/a+", "device"),
    ],
)
def test_a_url_that_does_not_do_says_what_does(url: str, word: str) -> None:
    with pytest.raises(InputError, match=word) as told:
        server_of(url, Login())
    assert "secret" not in str(told.value)


def test_the_url_names_user_port_and_device(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p\n")
    server, device = server_of("mqtts://guard@host:1/gate", Login(tmp_path / "password"))
    assert (server.host, server.port, server.tls, server.username, device) == ("host", 1, True, "guard", "gate")
    assert server.password() == "p"
    assert server_of("mqtts://host", Login())[0].port == 8883
