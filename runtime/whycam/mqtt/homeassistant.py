"""Home Assistant's device discovery: one retained message that names all entities of the device.

Topics may hold wildcards where Home Assistant subscribes, so one image entity shows each episode's heat map. A template
that gives nothing leaves an entity as it is, one that gives `None` makes it unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_args

from whycam.mqtt.message import JPEG, Message
from whycam.mqtt.payloads import OFFLINE, ONLINE, Phase, StateName
from whycam.mqtt.topics import Topics

BIRTH = ONLINE
"""What Home Assistant publishes to `PREFIX/status` when it has started."""

Component = dict[str, Any]


def status_topic(prefix: str) -> str:
    """Where Home Assistant says that it has started."""
    return f"{prefix}/status"


def discovery_topic(prefix: str, topics: Topics) -> str:
    """Where the device is announced; roots differ where devices may be named alike.

    The device's name is a level of its own, so that a broker's access list can compare it with the user's.
    """
    return f"{prefix}/device/{re.sub(r'[^A-Za-z0-9_-]', '_', topics.root)}/{topics.device}/config"


def discovery_message(
    prefix: str,
    topics: Topics,
    version: str,
    cameras: Mapping[str, Collection[str]],
    gone: Mapping[str, str] | None = None,
    score_seconds: float = 1.0,
    drifting: Collection[str] = (),
) -> Message:
    """Announces `cameras` (name: the classes that raise), and takes back the entities that are `gone` (key: platform).

    Those in `drifting` are watched for drift.

    Home Assistant keeps an entity that is only left out: it must be named without anything but its platform.
    """
    components = entities(topics, cameras, score_seconds, drifting)
    removed = {key: {"platform": platform} for key, platform in (gone or {}).items() if key not in components}
    announced = {
        "device": {
            "identifiers": [topics.base],
            "name": topics.device,
            "manufacturer": "whycam",
            "model": "video-anomaly detector",
            "sw_version": version,
        },
        "origin": {"name": "whycam", "sw_version": version},
        "availability_topic": topics.availability,
        "payload_available": ONLINE.decode(),
        "payload_not_available": OFFLINE.decode(),
        "qos": 1,
        "components": {**components, **removed},
    }
    return Message(discovery_topic(prefix, topics), json.dumps(announced).encode(), retain=True)


def no_discovery_message(prefix: str, topics: Topics) -> Message:
    """Takes back the device with all its entities."""
    return Message(discovery_topic(prefix, topics), b"", retain=True)


def entities(
    topics: Topics,
    cameras: Mapping[str, Collection[str]],
    score_seconds: float = 1.0,
    drifting: Collection[str] = (),
) -> dict[str, Component]:
    """All entities of the device by key; the key's first part is the camera, or empty."""
    found = dict(_of_device(topics))
    for camera, labels in cameras.items():
        found.update(_of_camera(topics, camera))
        if camera in drifting:
            found.update(_of_drift(topics, camera))
        for label in labels:
            found.update(_of_class(topics, camera, label, score_seconds))
    for key, component in found.items():
        component["unique_id"] = f"{topics.base}.{key}"
    return found


def _of_device(topics: Topics) -> Iterable[tuple[str, Component]]:
    shared = {"state_topic": topics.telemetry, "entity_category": "diagnostic"}
    yield (
        ".waiting",
        {
            "platform": "sensor",
            "name": "Messages waiting",
            "value_template": "{{ value_json.outbox.rows if value_json.outbox else none }}",
            "state_class": "measurement",
            **shared,
        },
    )
    yield (
        ".disk",
        {
            "platform": "binary_sensor",
            "name": "Disk",
            "device_class": "problem",
            "value_template": "{{ 'ON' if value_json.outbox and value_json.outbox.problem else 'OFF' }}",
            **shared,
        },
    )
    yield (
        ".temperature",
        {
            "platform": "sensor",
            "name": "Temperature",
            "device_class": "temperature",
            "unit_of_measurement": "°C",
            "state_class": "measurement",
            "value_template": "{% set zones = value_json.temperatures_celsius.values() | list %}"
            "{{ zones | max if zones else none }}",
            **shared,
        },
    )
    yield (
        ".memory",
        {
            "platform": "sensor",
            "name": "Memory",
            "device_class": "data_size",
            "unit_of_measurement": "B",
            "state_class": "measurement",
            "value_template": "{{ value_json.memory_bytes }}",
            "enabled_by_default": False,
            **shared,
        },
    )


def _of_camera(topics: Topics, camera: str) -> Iterable[tuple[str, Component]]:
    yield (
        f"{camera}.alert",
        {
            "platform": "event",
            "name": f"{camera} alert",
            "state_topic": topics.alert(camera),
            "event_types": list(get_args(Phase)),
            "value_template": "{{ {'event_type': value_json.phase, 'id': value_json.id, 'label': value_json.label, "
            "'score': value_json.score, 'peak': value_json.peak, 'onset': value_json.onset, 'time': value_json.time, "
            "'duration_seconds': value_json.duration_seconds, 'reason': value_json.reason} | tojson }}",
        },
    )
    yield (
        f"{camera}.heatmap",
        {
            "platform": "image",
            "name": f"{camera} heat map",
            "image_topic": topics.heatmap(camera, "+"),
            "content_type": JPEG,
        },
    )
    yield (
        f"{camera}.state",
        {
            "platform": "sensor",
            "name": f"{camera} state",
            "device_class": "enum",
            "options": list(get_args(StateName)),
            "state_topic": topics.state(camera),
            "value_template": "{{ value_json.state }}",
            "entity_category": "diagnostic",
        },
    )
    yield (
        f"{camera}.fps",
        {
            "platform": "sensor",
            "name": f"{camera} frame rate",
            "unit_of_measurement": "fps",
            "state_class": "measurement",
            "state_topic": topics.state(camera),
            "value_template": "{{ value_json.fps }}",
            "entity_category": "diagnostic",
            "enabled_by_default": False,
        },
    )
    yield (
        f"{camera}.armed",
        {
            "platform": "switch",
            "name": f"{camera} armed",
            "state_topic": topics.state(camera),
            "value_template": "{{ 'armed' if value_json.armed else 'disarmed' }}",
            "state_on": "armed",
            "state_off": "disarmed",
            "command_topic": topics.set(camera),
            "payload_on": '{"armed": true}',
            "payload_off": '{"armed": false}',
            "entity_category": "config",
        },
    )


def _of_drift(topics: Topics, camera: str) -> Iterable[tuple[str, Component]]:
    yield (
        f"{camera}.drift",
        {
            "platform": "binary_sensor",
            "name": f"{camera} drift",
            "device_class": "problem",
            "state_topic": topics.drift(camera),
            "value_template": "{{ 'ON' if value_json.drifted else 'OFF' }}",
            "json_attributes_topic": topics.drift(camera),
            "json_attributes_template": "{{ {'says': value_json.signs | map(attribute='says') | list, "
            "'since': value_json.since, 'statistic': value_json.statistic} | tojson }}",
            "entity_category": "diagnostic",
        },
    )


def _of_class(topics: Topics, camera: str, label: str, score_seconds: float) -> Iterable[tuple[str, Component]]:
    quoted = json.dumps(label)  # a string of JSON is one of Jinja too
    yield (
        f"{camera}.active.{label}",
        {
            "platform": "binary_sensor",
            "name": f"{camera} {label}",
            "device_class": "safety",
            "state_topic": topics.alert(camera),
            # Nothing for another class: each has its own episodes.
            "value_template": f"{{% if value_json.label == {quoted} %}}"
            "{{ 'OFF' if value_json.phase == 'cleared' else 'ON' }}{% endif %}",
        },
    )
    yield (
        f"{camera}.score.{label}",
        {
            "platform": "sensor",
            "name": f"{camera} {label} score",
            "state_topic": topics.score(camera),
            "value_template": f"{{{{ value_json.scores.get({quoted}) }}}}",
            "state_class": "measurement",
            "suggested_display_precision": 3,
            "expire_after": max(60, round(3 * score_seconds)),
            # A value each second is a burden on Home Assistant's database: whoever wants it switches it on.
            "enabled_by_default": False,
        },
    )
    yield (
        f"{camera}.threshold.{label}",
        {
            "platform": "number",
            "name": f"{camera} {label} threshold",
            "state_topic": topics.state(camera),
            "value_template": f"{{{{ value_json.thresholds.get({quoted}) }}}}",
            "command_topic": topics.set(camera),
            "command_template": f"{{{{ {{'thresholds': {{{quoted}: value}}}} | tojson }}}}",
            "min": 0.01,
            "max": 1,
            "step": 0.01,
            "mode": "box",
            "entity_category": "config",
        },
    )
