"""Drift in the running service: what subscribers, Prometheus and Home Assistant hear, and that it is taken back."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.drift.usual import baseline, store
from tests.runtime.mqtt.broker import missing
from tests.runtime.mqtt.collector import Collector, until
from tests.runtime.service.running import DEVICE, Running, write_video
from whycam.bundle import Bundle, revise
from whycam.mqtt.payloads import DriftPayload

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

TOPIC = f"whycam/{DEVICE}/gate/drift"
DISCOVERY = f"homeassistant/device/whycam/{DEVICE}/config"


def on(directory: Path, scenes: Sequence[tuple[str, int]], *, cameras: Sequence[dict[str, Any]] = ({},)) -> Running:
    """A service whose bundle finds plain blue usual, on a camera that shows `scenes`."""
    running = Running(directory, cameras=cameras)
    write_video(running.video, scenes)
    store(running.bundle, baseline())
    return running


def metrics(running: Running) -> dict[str, float]:
    line = [line for line in running.service.log.splitlines() if "http://127.0.0.1:" in line][-1]
    address = "http://127.0.0.1:" + line.rpartition("http://127.0.0.1:")[2].split("/")[0]
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_a_drift_is_told_when_it_begins_and_when_it_ends(tmp_path: Path) -> None:
    with on(tmp_path, (("quiet", 30), ("fight", 30))) as running:
        begun = running.told("gate/drift", drifted=True)
        ended = running.told("gate/drift", running.subscriber.arrivals.index(begun), drifted=False)
        payload = DriftPayload.model_validate(begun.body)
        assert "brighter" in {sign.says for sign in payload.signs}
        assert payload.statistic > 1
        assert payload.since is not None
        assert payload.since < payload.time
        assert (ended.body["since"], ended.body["signs"]) == (None, [])
        running.told("gate/state", drift=True)
        running.told("gate/state", drift=False)
        told = [one.body["drifted"] for one in running.subscriber.since(0) if one.topic == TOPIC]
        assert all(before != after for before, after in pairwise(told)), "once each"
        assert metrics(running)['whycam_camera_drift_statistic{camera="gate"}'] >= 0
        assert metrics(running)['whycam_camera_drifted{camera="gate"}'] in (0, 1)
        with Collector(running.broker.port, TOPIC, DISCOVERY) as late:
            assert late.wait_for(TOPIC)[0].retain
            entity = json.loads(late.wait_for(DISCOVERY)[0].payload)["components"]["gate.drift"]
            assert entity["state_topic"] == TOPIC


def test_a_camera_that_is_removed_takes_its_drift_with_it(tmp_path: Path) -> None:
    with on(tmp_path, (("fight", 30),), cameras=({}, {"name": "yard"})) as running:
        running.told("yard/drift", drifted=True)
        start = len(running.subscriber.arrivals)
        running.configure([{}])
        assert running.service.signal(signal.SIGHUP)
        topic = f"whycam/{DEVICE}/yard/drift"
        assert running.subscriber.wait_for(lambda one: one.topic == topic and not one.payload, 30, start)
        with Collector(running.broker.port, DISCOVERY) as home:
            home.wait_for(DISCOVERY)
            until(lambda: home.json(DISCOVERY)[-1]["components"]["yard.drift"] == {"platform": "binary_sensor"})


def test_without_statistics_nothing_is_said_and_what_was_said_is_taken_back(tmp_path: Path) -> None:
    with on(tmp_path, (("fight", 30),)) as running:
        running.told("gate/drift", drifted=True)
        revise(Bundle.open(running.bundle), {}, drop=["drift.npz"], drift=None)
        start = len(running.subscriber.arrivals)
        assert running.service.terminate()
        assert running.service.wait_ready()
        assert running.subscriber.wait_for(lambda one: one.topic == TOPIC and not one.payload, 30, start)
        running.told("gate/score", start, warm=True)
        running.told("gate/state", start, state="running", drift=None)
        assert "whycam_camera_drifted{" not in str(metrics(running))
        assert not [one for one in running.subscriber.since(start) if one.topic == TOPIC and one.payload]


def test_it_can_be_switched_off_for_a_camera(tmp_path: Path) -> None:
    cameras = ({}, {"name": "yard", "drift": {"enabled": False}})
    with on(tmp_path, (("fight", 30),), cameras=cameras) as running:
        running.told("gate/drift", drifted=True)
        running.told("yard/state", state="running", drift=None)
        assert not [one for one in running.subscriber.since(0) if one.topic.endswith("yard/drift")]


def test_damaged_statistics_are_the_cameras_failure_by_name(tmp_path: Path) -> None:
    cameras = ({"drift": {"enabled": False}}, {"name": "yard"})
    running = on(tmp_path, (("quiet", 30),), cameras=cameras)
    (running.bundle / "drift.npz").write_bytes(b"nonsense")
    with running:
        assert "drift.npz: damaged" in running.told("yard/state", state="failed").body["reason"]
        running.told("gate/state", state="running")
