"""What a fleet says, and what `whycam watch --metrics` makes of it."""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.runtime.mqtt.collector import Collector, until
from tests.runtime.mqtt.watching import ALERT, TIME, Watch, alert
from whycam.mqtt.ear import Received
from whycam.watch.reading import Event, read

PROMTOOL = shutil.which("promtool")
PROMETHEUS = shutil.which("prometheus")
MISSING = "needs promtool and prometheus (Debian: prometheus)" if not (PROMTOOL and PROMETHEUS) else ""

TELEMETRY: dict[str, Any] = {
    "schema": "whycam.telemetry/1",
    "device": "gate",
    "time": TIME,
    "version": "0.1.0",
    "uptime_seconds": 60.0,
    "cameras": {
        "door": {"state": "running", "fps": 25.0, "frames": 1500, "dropped": 12, "scored": 600, "reconnects": 1}
    },
    "stages": {"score": {"count": 300, "mean_ms": 8.1, "max_ms": 14.9}},
    "queues": {"alerts": {"depth": 3, "capacity": 256, "refused": 2}},
    "outbox": {"rows": 5, "bytes": 99, "oldest_seconds": 6.5, "evicted": {"heatmap": 7}, "in_memory": 1},
    "evidence_skipped": {"disk full": 4},
    "temperatures_celsius": {"cpu-thermal": 51.5},
    "memory_bytes": 734003200,
    "refused_requests": 9,
    "clock_jumps": 2,
}
STATE: dict[str, Any] = {
    "schema": "whycam.state/1",
    "device": "gate",
    "camera": "door",
    "time": TIME,
    "state": "running",
    "since": TIME,
    "armed": True,
    "thresholds": {"fire": 0.5, "fight": 0.6},
    "bundle": "incidents",
    "version": "3",
    "precision": "fp16",
    "providers": ["cuda", "cpu"],
    "source": "rtsp://camera-3/stream",
}
SCORE: dict[str, Any] = {
    "schema": "whycam.score/1",
    "device": "gate",
    "camera": "door",
    "time": TIME,
    "scores": {"normal": 0.07, "fire": 0.91},
    "label": "fire",
    "warm": True,
    "alert": True,
}
DRIFT: dict[str, Any] = {
    "schema": "whycam.drift/1",
    "device": "gate",
    "camera": "door",
    "time": TIME,
    "drifted": True,
    "since": TIME,
    "statistic": 2.02,
    "signs": [],
}
BUNDLES: dict[str, Any] = {
    "schema": "whycam.bundles/1",
    "device": "gate",
    "time": TIME,
    "bundles": [
        {
            "name": "incidents",
            "version": "3",
            "id": "5a3c20da4ebb2f5c",
            "state": "current",
            "cameras": ["door"],
            "event": {
                "event": "rolled-back",
                "time": TIME,
                "id": "9dccb709d613ffe0",
                "version": "4",
                "previous": "5a3c20da4ebb2f5c",
                "reason": "none was scored",
            },
        }
    ],
}
SHADOW: dict[str, Any] = {
    "schema": "whycam.shadow/1",
    "device": "gate",
    "camera": "door",
    "time": TIME,
    "live": {
        "bundle": "incidents",
        "version": "3",
        "precision": "fp16",
        "scores": {"fire": 0.91},
        "label": "fire",
        "alert": True,
    },
    "candidate": {
        "bundle": "incidents",
        "version": "4",
        "precision": "fp16",
        "scores": {"fire": 0.41},
        "label": "fire",
        "alert": False,
    },
    "compared": 100,
    "agreed": 90,
    "mean_difference": 0.012,
    "max_difference": 0.5,
    "episodes": {"both": 6, "live_only": 1, "candidate_only": 2},
    "skipped": 41,
    "failed": 3,
}


def messages() -> list[tuple[str, bytes, bool]]:
    """Of each kind one: topic, payload, whether it is retained."""
    said: list[tuple[str, Any, bool]] = [
        ("whycam/gate/telemetry", TELEMETRY, False),
        ("whycam/gate/bundles", BUNDLES, True),
        ("whycam/gate/door/state", STATE, True),
        ("whycam/gate/door/drift", DRIFT, True),
        ("whycam/gate/door/score", SCORE, False),
        ("whycam/gate/door/shadow", SHADOW, False),
        (ALERT, alert(), False),
    ]
    encoded = [(topic, json.dumps(payload).encode(), retained) for topic, payload, retained in said]
    return [("whycam/gate/availability", b"online", True), *encoded]


def event(topic: str, payload: bytes | dict[str, Any]) -> Event:
    """What the watcher hands on."""
    return read("whycam", Received(topic, payload if isinstance(payload, bytes) else json.dumps(payload).encode()))


def samples(text: str) -> dict[str, float]:
    """Each sample of an answer, by its name and labels: `name{label="value"}`, the labels in alphabetical order."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def names(found: Iterable[str]) -> set[str]:
    """The metrics among samples."""
    return {sample.partition("{")[0] for sample in found}


class Bridge(Watch):
    """`whycam watch --metrics` in the background."""

    def __init__(self, directory: Path, url: str, *options: str) -> None:
        super().__init__(directory, url, "--metrics", "0", *options)
        self.port = int(until(lambda: re.search(r"metrics at http://127\.0\.0\.1:(\d+)/", self.errors), "the port")[1])

    def get(self, path: str = "/metrics") -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def samples(self) -> dict[str, float]:
        return samples(self.get())

    def wait_for(self, sample: str, value: float | None) -> dict[str, float]:
        """All samples, once this one has this value; None: is not there."""
        until(lambda: self.samples().get(sample) == value, f"{sample} {value}")
        return self.samples()


def say(sender: Collector, *leave_out: str) -> None:
    """One message of each kind."""
    for topic, payload, retained in messages():
        if not topic.endswith(leave_out):
            sender.publish(topic, payload, retain=retained)
