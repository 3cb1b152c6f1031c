"""Commands that make no sense, or mean harm."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import ValidationError

from tests.chaos.faults import Stage, fault
from tests.chaos.processes import Footprint, footprint
from tests.chaos.stack import DEVICE, Stack
from whycam.mqtt.payloads import ExplainRequest, SetCommand

PART = "commands"
RSS_BYTES, OPEN_FILES = 24 << 20, 4
"""How much more the service may hold after all of them than after the first tenth."""

_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from([1e308, -0.0, 10**400])
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_KEYS = st.sampled_from(
    ["armed", "thresholds", "request_id", "window", "label", "method", "versus", "heatmaps", "Armed", "__class__", ""]
)
_NEARLY = st.dictionaries(_KEYS | st.text(max_size=8), _VALUES, min_size=1, max_size=4)
_THRESHOLDS = st.dictionaries(
    st.sampled_from(["fight", "fire", "normal", "theft", "", "../fire"]), _VALUES | st.floats(-1, 2), max_size=3
)
_NASTY = st.sampled_from(
    [
        b"",
        b"\x00",
        b"[" * 10_000,
        b'{"armed":' * 2000,
        b'{"armed": false',
        b'{"armed": false}{"armed": false}',
        b'\xef\xbb\xbf{"armed": false}',
        b'{"armed": "false"}',
        b'{"armed": 0}',
        b'{"armed": false, "armed": null, "x": 1}',
        b'{"thresholds": {"fight": NaN}}',
        b'{"thresholds": {"fight": Infinity}}',
        b'{"thresholds": {"fight": 1e999}}',
        b'{"thresholds": {"fight": 0}}',
        b'{"thresholds": {"fight": 0.5, "normal": 0.5}}',
        b'{"thresholds": {"fight": 0.5, "theft": 0.5}}',
        b'{"request_id": "\\ud800", "armed": 1}',
        b'{"method": "../../etc/passwd"}',
        b'{"label": "theft"}',
        b'{"label": "fight", "versus": "theft"}',
        b'{"armed": false, "request_id": "' + b"x" * 20_000 + b'"}',
        b"\xff\xfe\xfd" * 50,
        b"x" * 300_000,
        json.dumps({"thresholds": {str(n): 0.5 for n in range(5000)}}).encode(),
        b"\x1f\x8b\x08\x00" + b"\x00" * 100,
        b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>",
    ]
)
_PAYLOADS = st.one_of(
    _NASTY,
    st.binary(max_size=200),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    _VALUES.map(lambda value: json.dumps(value).encode()),
    _NEARLY.map(lambda value: json.dumps(value).encode()),
    _THRESHOLDS.map(lambda value: json.dumps({"thresholds": value}).encode()),
    st.tuples(_NEARLY, st.integers(0, 60), st.binary(max_size=3)).map(
        lambda parts: _spliced(json.dumps(parts[0]).encode(), parts[1], parts[2])
    ),
)
_RESPONSE_TOPICS = st.sampled_from(
    [
        None,
        "answers/here",
        "whycam/chaos/gate/set",
        "whycam/chaos/gate/explain",
        "whycam/chaos/gate/alert",
        "whycam/chaos/availability",
        "whycam/other/gate/set",
        "$SYS/broker",
        "homeassistant/device/x/config",
        "x" * 2000,
        "a/" * 100,
    ]
)
_CORRELATIONS = st.none() | st.binary(max_size=40) | st.just(b"\x00" * 20_000)
_HOSTILE = st.tuples(st.sampled_from(["set", "explain"]), _PAYLOADS, _RESPONSE_TOPICS, _CORRELATIONS, st.booleans())
Hostile = tuple[str, bytes, "str | None", "bytes | None", bool]


def _spliced(payload: bytes, place: int, bytes_: bytes) -> bytes:
    return payload[:place] + bytes_ + payload[place + 1 :]


def hostile(count: int) -> list[Hostile]:
    """`count` commands, none of which may have an effect.

    Each: leaf of the topic, payload, response topic, correlation data, retained.
    """
    made: list[Hostile] = []

    @settings(
        max_examples=count * 2,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        derandomize=True,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(_HOSTILE)
    def make(command: Hostile) -> None:
        if not _has_effect(command[0], command[1]):
            made.append(command)

    make()
    return list(itertools.islice(itertools.cycle(made), count))


def _has_effect(leaf: str, payload: bytes) -> bool:
    try:
        if leaf == "explain":
            ExplainRequest.model_validate_json(payload)
            return False  # it changes nothing, and an answer is not an effect
        command = SetCommand.model_validate_json(payload)
    except (ValidationError, ValueError):
        return False
    return not (set(command.thresholds or {}) - {"fight", "fire"})


@fault(PART, "malformed and hostile commands", times=10_000, weight=0.01)
def malformed(stage: Stage, times: int) -> None:
    commands = hostile(times)
    # A broker that drops what it cannot deliver at once would hide the flood from the service.
    with stage.stack(broker_settings=("max_queued_messages 0", "max_inflight_messages 200")) as stack:
        pid, before, kept = stack.service.pid or 0, stack.state_of("gate"), _settings_of(stack)
        prints = []
        for share, batch in _tenths(commands):
            with stack.anomaly(("fight", "fire")[share % 2]):
                for command in batch:
                    _send(stack, command)
                    stack.injected()
                stack.recover()
            _digested(stack)
            stack.settle()
            prints.append(footprint(pid))
        if stack.service.pid != pid:
            stack.row.problems.append("the service did not live through the commands")
        _check_leaks(stack, prints)
        _check_answers(stack)
        _retained_while_away(stack)
        after = stack.state_of("gate")
        changed = [name for name in ("armed", "thresholds") if before[name] != after[name]]
        if changed or _settings_of(stack) != kept:
            stack.row.problems.append(f"a malformed command had an effect: {changed} {after}")


def _retained_while_away(stack: Stack) -> None:
    """A valid command that is retained would be obeyed again at every connection: it must not be."""
    topic = f"whycam/{DEVICE}/gate/set"
    stack.service.hold()
    stack.service.kill()
    stack.subscriber.publish(topic, b'{"armed": false, "request_id": "retained"}', retain=True)
    stack.service.release()
    stack.service.wait_ready()
    stack.recover()
    stack.quiet(1)
    stack.subscriber.publish(topic, b"", retain=True)
    stack.play("fight")
    stack.settle()


def _settings_of(stack: Stack) -> bytes | None:
    file = stack.state / "settings.json"
    return file.read_bytes() if file.exists() else None


def _digested(stack: Stack) -> None:
    """Wait until the service has gone through all it was sent: it counts no further refusals."""
    last = None
    for _ in range(40):
        start = len(stack.subscriber.arrivals)
        told = stack.subscriber.wait_for(lambda one: one.kind == "telemetry", 5, start)
        refused = told.body.get("refused_requests") if told is not None else None
        if refused is not None and refused == last:
            return
        last = refused


def _check_leaks(stack: Stack, prints: list[Footprint | None]) -> None:
    known = [one for one in prints if one is not None]
    if len(known) < 2:
        return
    # The first tenth fills caches and pools.
    first, last = known[0], known[-1]
    grown = last.rss_bytes - first.rss_bytes, last.open_files - first.open_files, last.threads - first.threads
    stack.row.notes.append(f"memory {grown[0] / 2**20:+.1f} MiB, open files {grown[1]:+d}, threads {grown[2]:+d}")
    if grown[0] > RSS_BYTES or grown[1] > OPEN_FILES or grown[2] > OPEN_FILES:
        stack.row.problems.append(f"leak: {stack.row.notes[-1]}")


def _check_answers(stack: Stack) -> None:
    """Answers go where answers belong, however the response topic tempts."""
    for one in stack.subscriber.since(0):
        schema = one.body.get("schema", "")
        answer = schema.startswith(("whycam.error", "whycam.set.result", "whycam.explain"))
        # The one place outside the device's topics that the commands name.
        if answer and one.kind != "response" and one.topic != "answers/here":
            stack.row.problems.append(f"an answer went to {one.topic}")
            return


def _tenths(commands: list[Hostile]) -> Iterator[tuple[int, list[Hostile]]]:
    size = -(-len(commands) // 10)
    for share in range(10):
        yield share, commands[share * size : (share + 1) * size]


def _send(stack: Stack, command: Hostile) -> None:
    leaf, payload, response, correlation, retained = command
    properties = Properties(PacketTypes.PUBLISH)
    if response is not None:
        properties.ResponseTopic = response
    if correlation is not None:
        properties.CorrelationData = correlation
    stack.subscriber.publish(f"whycam/{DEVICE}/gate/{leaf}", payload, retain=retained, properties=properties)
