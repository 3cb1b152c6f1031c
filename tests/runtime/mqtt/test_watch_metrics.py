"""`whycam watch --metrics`: what devices say becomes metrics, in bounded memory, and goes when it is no longer true."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.runtime.mqtt.broker import Broker, free_port
from tests.runtime.mqtt.collector import Collector, until
from tests.runtime.mqtt.scraping import (
    BUNDLES,
    DRIFT,
    MISSING,
    PROMTOOL,
    SCORE,
    SHADOW,
    STATE,
    TELEMETRY,
    Bridge,
    event,
    messages,
    names,
    samples,
    say,
)
from tests.runtime.mqtt.watching import ALERT, HOSTILE, alert
from whycam.errors import InputError
from whycam.mqtt.payloads import BundleEvent, timestamp
from whycam.watch.families import EVENTS, FAMILIES, families
from whycam.watch.fleet import CAMERAS_PER_DEVICE, Latest
from whycam.watch.metrics import MetricsView, address
from whycam.watch.trim import LABELS

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


class Told:
    """What the metrics are after some messages."""

    def __init__(self) -> None:
        self.view = MetricsView()
        self.view.refresh(None, 0)
        self._registry = CollectorRegistry()
        self._registry.register(self.view)

    def say(self, *said: tuple[str, object]) -> None:
        for topic, payload in said:
            self.view.show(event(topic, payload if isinstance(payload, dict) else bytes(payload)), None)  # type: ignore[call-overload]

    def text(self) -> str:
        return generate_latest(self._registry).decode()

    def samples(self) -> dict[str, float]:
        return samples(self.text())


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def all_told(told: Told) -> Told:
    told.say(*((topic, payload) for topic, payload, _ in messages()))
    return told


def test_each_message_becomes_metrics(all_told: Told) -> None:
    found = all_told.samples()
    camera = 'camera="door",device="gate"'
    expected = {
        'whycam_device_online{device="gate"}': 1,
        'whycam_device_info{device="gate",version="0.1.0"}': 1,
        'whycam_bundle_info{bundle="incidents",device="gate",id="5a3c20da4ebb2f5c",state="current",version="3"}': 1,
        'whycam_bundle_event{bundle="incidents",device="gate",event="rolled-back"}': 1,
        'whycam_bundle_event{bundle="incidents",device="gate",event="confirmed"}': 0,
        'whycam_uptime_seconds{device="gate"}': 60,
        'whycam_memory_bytes{device="gate"}': 734003200,
        'whycam_temperature_celsius{device="gate",zone="cpu-thermal"}': 51.5,
        'whycam_clock_jumps_total{device="gate"}': 2,
        'whycam_refused_requests_total{device="gate"}': 9,
        'whycam_evidence_skipped_total{device="gate",reason="disk full"}': 4,
        'whycam_stage_mean_seconds{device="gate",stage="score"}': 0.0081,
        'whycam_stage_max_seconds{device="gate",stage="score"}': 0.0149,
        'whycam_queue_depth{device="gate",stage="alerts"}': 3,
        'whycam_queue_capacity{device="gate",stage="alerts"}': 256,
        'whycam_queue_refused_total{device="gate",stage="alerts"}': 2,
        'whycam_outbox_messages{device="gate"}': 5,
        'whycam_outbox_bytes{device="gate"}': 99,
        'whycam_outbox_oldest_seconds{device="gate"}': 6.5,
        'whycam_outbox_in_memory{device="gate"}': 1,
        'whycam_outbox_evicted_total{device="gate",kind="heatmap"}': 7,
        f'whycam_camera_state{{{camera},state="running"}}': 1,
        f'whycam_camera_state{{{camera},state="failed"}}': 0,
        f"whycam_camera_armed{{{camera}}}": 1,
        f'whycam_camera_threshold{{{camera},label="fight"}}': 0.6,
        f"whycam_camera_fps{{{camera}}}": 25,
        f"whycam_camera_captured_total{{{camera}}}": 1500,
        f"whycam_camera_dropped_total{{{camera}}}": 12,
        f"whycam_camera_scored_total{{{camera}}}": 600,
        f"whycam_camera_reconnects_total{{{camera}}}": 1,
        f'whycam_camera_score{{{camera},label="fire"}}': 0.91,
        f"whycam_camera_warm{{{camera}}}": 1,
        f"whycam_camera_drift_statistic{{{camera}}}": 2.02,
        f"whycam_camera_drifted{{{camera}}}": 1,
        f'whycam_shadow_score{{{camera},label="fire"}}': 0.41,
        f"whycam_shadow_difference{{{camera}}}": 0.012,
        f'whycam_shadow_frames_total{{{camera},outcome="agreed"}}': 90,
        f'whycam_shadow_frames_total{{{camera},outcome="failed"}}': 3,
        f'whycam_shadow_episodes_total{{{camera},raised_by="live"}}': 1,
        f'whycam_shadow_episodes_total{{{camera},raised_by="candidate"}}': 2,
        f"whycam_shadow_trouble{{{camera}}}": 0,
        f'whycam_alerts_total{{{camera},label="fire",phase="raised"}}': 1,
        f'whycam_alerts_total{{{camera},label="fight",phase="raised"}}': 0,
        f'whycam_alerts_open{{{camera},label="fire"}}': 1,
        f'whycam_alerts_open{{{camera},label="fight"}}': 0,
        'whycam_watch_messages_total{kind="score"}': 1,
        "whycam_watch_connected": 1,
        "whycam_watch_devices": 1,
        "whycam_watch_cameras": 1,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert names(found) >= set(FAMILIES)


def test_the_clock_of_a_device_is_compared_with_ours(told: Told) -> None:
    told.say(("whycam/gate/telemetry", {**TELEMETRY, "time": timestamp(time.time() - 7200)}))
    assert told.samples()['whycam_device_clock_offset_seconds{device="gate"}'] == pytest.approx(-7200, abs=10)
    told.say(("whycam/gate/telemetry", {**TELEMETRY, "time": "2026-02-31T00:00:00.000Z"}))
    assert 'whycam_device_clock_offset_seconds{device="gate"}' not in told.samples()


def test_an_episode_is_open_until_it_is_cleared(told: Told) -> None:
    first, second = alert(), alert(label="fight")
    told.say((ALERT, first), (ALERT, second), (ALERT, alert(first["id"], 1, phase="updated")))
    assert open_episodes(told) == {"fire": 1, "fight": 1}
    told.say((ALERT, alert(first["id"], 2, phase="cleared")))
    assert open_episodes(told) == {"fire": 0, "fight": 1}


def open_episodes(told: Told) -> dict[str, float]:
    found = told.samples()
    return {
        label: found[f'whycam_alerts_open{{camera="door",device="gate",label="{label}"}}']
        for label in ("fire", "fight")
    }


def test_of_a_device_that_is_away_only_that_and_what_was_counted_is_told(all_told: Told) -> None:
    all_told.say(("whycam/gate/availability", b"offline"))
    found = all_told.samples()
    assert found['whycam_device_online{device="gate"}'] == 0
    assert found['whycam_alerts_total{camera="door",device="gate",label="fire",phase="raised"}'] == 1
    assert {name for name in names(found) if not name.startswith("whycam_watch")} == {
        "whycam_device_online",
        "whycam_alerts_total",
    }
    all_told.say(("whycam/gate/availability", b"online"))
    back = names(all_told.samples())
    assert "whycam_camera_state" in back  # retained, and not said again
    assert "whycam_camera_score" not in back


def test_nothing_is_told_of_a_camera_or_device_that_was_removed(all_told: Told) -> None:
    all_told.say(("whycam/gate/yard/state", {**STATE, "camera": "yard"}), ("whycam/gate/door/drift", b""))
    assert "whycam_camera_drifted" not in names(all_told.samples())
    all_told.say(("whycam/gate/door/state", b""), ("whycam/gate/telemetry", {**TELEMETRY, "cameras": {}}))
    found = all_told.samples()
    assert not [name for name in found if 'camera="door"' in name]
    assert [name for name in found if 'camera="yard"' in name]
    all_told.say(("whycam/gate/availability", b""))
    assert not [name for name in all_told.samples() if 'device="gate"' in name]


def test_what_is_retained_and_taken_back_twice_is_no_trouble(told: Told) -> None:
    told.say(*((f"whycam/gate/{one}", b"") for one in ("availability", "bundles", "door/state", "door/drift")))
    assert told.samples()["whycam_watch_devices"] == 0


def test_without_the_broker_nothing_is_told_of_how_devices_are(all_told: Told) -> None:
    all_told.view.refresh("connection lost", 0)
    found = all_told.samples()
    assert found["whycam_watch_connected"] == 0
    assert {name for name in names(found) if not name.startswith("whycam_watch")} == {"whycam_alerts_total"}
    all_told.view.refresh(None, 3)
    assert all_told.samples()["whycam_watch_ignored_total"] == 3


def test_what_was_said_holds_for_its_time_or_three_pauses() -> None:
    once: Latest[int] = Latest(0.05)
    once.put(1)
    assert once.get() == 1
    time.sleep(0.1)
    assert once.get() is None
    once.put(2)
    time.sleep(0.1)
    assert once.get() == 2  # it comes every 0.1 s
    until(lambda: once.get() is None, "its end")


def test_a_silence_does_not_make_what_follows_hold_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("whycam.watch.fleet.time.monotonic", lambda: clock[0])
    said: Latest[int] = Latest(1)
    for clock[0] in (0.0, 30.0, 60.0, 3660.0):
        said.put(1)
    clock[0] = 3660.0 + 90
    assert said.get() == 1
    clock[0] += 1
    assert said.get() is None


def test_memory_and_series_stay_bounded_whatever_is_published(told: Told) -> None:
    table = {f"{number}": 0.5 for number in range(5000)}
    for number in range(1500):
        told.say((f"whycam/d{number}/availability", b"online"))
    for number in range(200):
        told.say((f"whycam/d0/c{number}/score", {**SCORE, "device": "d0", "camera": f"c{number}", "scores": table}))
    for number in range(300):
        labels = {f"{number}-{one}": 0.5 for one in range(9)}
        told.say(("whycam/d1/c/state", {**STATE, "device": "d1", "camera": "c", "thresholds": labels}))
        told.say(("whycam/d1/c/alert", alert(device="d1", camera="c", label=f"label {number}")))
    found = told.samples()
    assert found["whycam_watch_devices"] == 1000
    assert found["whycam_watch_cameras"] == CAMERAS_PER_DEVICE + 1
    assert len([name for name in found if 'device="d0"' in name]) < CAMERAS_PER_DEVICE * (LABELS + 2)
    assert len([name for name in found if 'device="d1"' in name]) < 6 * LABELS
    assert found['whycam_watch_left_out_total{of="device"}'] == 500
    assert found['whycam_watch_left_out_total{of="camera"}'] == 200 - CAMERAS_PER_DEVICE
    assert found['whycam_watch_left_out_total{of="label"}'] >= CAMERAS_PER_DEVICE * (5000 - LABELS)


def test_series_beyond_what_prometheus_waits_for_are_left_out(all_told: Told) -> None:
    devices = all_told.view._fleet.devices
    everything, none = families(devices)
    some, beyond = families(devices, most=10)
    assert none == 0
    assert sum(len(family.samples) for family in some) == 10
    assert beyond == sum(len(family.samples) for family in everything) - 10 > 20


@pytest.mark.parametrize("name", ["\ud800", "x" * 1000, "a\nb", "\x1b[31m"])
def test_names_that_are_none_are_left_out(told: Told, name: str) -> None:
    telemetry = {**TELEMETRY, "temperatures_celsius": {name: 1.0, "cpu": 2.0}, "version": name}
    told.say(
        ("whycam/gate/telemetry", telemetry),
        ("whycam/gate/door/state", {**STATE, "thresholds": {name: 0.5}}),
        ("whycam/gate/door/score", {**SCORE, "scores": {name: 0.5}}),
        (ALERT, alert(label=name)),
    )
    found = told.samples()
    assert found['whycam_temperature_celsius{device="gate",zone="cpu"}'] == 2
    assert found['whycam_watch_left_out_total{of="label"}'] == 4
    assert "whycam_camera_score" not in names(found)


def test_a_label_may_hold_what_the_format_escapes(told: Told) -> None:
    told.say(("whycam/gate/door/score", {**SCORE, "scores": {'a "b" \\c }': 0.5}}))
    (found,) = [name for name in told.samples() if name.startswith("whycam_camera_score{")]
    assert 'a "b" \\c }' in found


def test_counts_beyond_all_proportion_are_told_as_the_largest(told: Told) -> None:
    told.say(("whycam/gate/telemetry", {**TELEMETRY, "refused_requests": 10**400}))
    assert told.samples()['whycam_refused_requests_total{device="gate"}'] == 2**53


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9465", ("127.0.0.1", 9465)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:9465", ("::1", 9465)),
        ("metrics.example:80", ("metrics.example", 80)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert address(text) == expected


@pytest.mark.parametrize("text", ["", "x", "host:", ":9465", "1:2:3", "65536", "::1:9465", "-1", "[]:1", "٣"])
def test_what_is_no_address_is_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"give \[HOST:\]PORT"):
        address(text)


def test_the_page_names_exactly_the_metrics_there_are(all_told: Told) -> None:
    section = PAGE.read_text(encoding="utf-8").partition("\n## Of a fleet")[2]
    documented = set(re.findall(r"^\| `(whycam_\w+)` \|", section, re.MULTILINE))
    assert names(all_told.samples()) == documented
    for name, family in FAMILIES.items():
        (row,) = re.findall(rf"^\| `{name}` \| (\w+) \| ([\w, ]*) \|", section, re.MULTILINE)
        assert row == (family.kind, ", ".join(("device", *family.labels)))


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_names_and_units_follow_the_rules_of_prometheus(all_told: Told) -> None:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=all_told.text(), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_command_serves_metrics_and_prints_alerts(broker: Broker, tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, f"mqtt://127.0.0.1:{broker.port}")
    with Collector(broker.port) as sender:
        bridge.wait_for("whycam_watch_connected", 1)
        until(lambda: "SUBACK" in broker.log, "the subscription")
        for payload in HOSTILE.values():
            sender.publish(ALERT, payload)
        say(sender)
        found = bridge.wait_for('whycam_alerts_total{camera="door",device="gate",label="fire",phase="raised"}', 1)
        assert found["whycam_watch_ignored_total"] == len(HOSTILE)
        assert found["process_resident_memory_bytes"] > 0
        assert "gate/door raised fire" in bridge.output
        told = json.loads(bridge.get("/healthz"))
        assert told == {"healthy": True, "broker": "connected", "devices": 1, "cameras": 1}
    assert bridge.end() == 0


def test_a_broker_that_restarts_is_found_again(broker: Broker, tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, f"mqtt://127.0.0.1:{broker.port}")
    bridge.wait_for("whycam_watch_connected", 1)
    until(lambda: "SUBACK" in broker.log, "the subscription")
    with Collector(broker.port) as sender:
        say(sender)
        bridge.wait_for('whycam_camera_drifted{camera="door",device="gate"}', 1)
    broker.stop()
    found = bridge.wait_for("whycam_watch_connected", 0)
    assert 'whycam_device_online{device="gate"}' not in found
    assert json.loads(bridge.get("/healthz"))["healthy"] is True
    broker.start()
    found = bridge.wait_for('whycam_camera_drifted{camera="door",device="gate"}', 1)
    assert found["whycam_watch_connected"] == 1
    # What was removed while nobody was told is gone too.
    broker.stop()
    bridge.wait_for("whycam_watch_connected", 0)
    (broker.directory / "data" / "mosquitto.db").unlink()
    broker.start()
    assert 'whycam_device_online{device="gate"}' not in bridge.wait_for("whycam_watch_connected", 1)
    assert bridge.end() == 0


def test_alerts_that_were_sent_while_it_was_away_are_counted_on_return(broker: Broker, tmp_path: Path) -> None:
    url = f"mqtt://127.0.0.1:{broker.port}"
    bridge = Bridge(tmp_path, url, "--client-id", "bridge")
    until(lambda: "SUBACK" in broker.log, "the subscription")
    bridge.end(signal.SIGKILL)
    with Collector(broker.port) as sender:
        sender.publish(ALERT, json.dumps(alert()))
    bridge = Bridge(tmp_path, url, "--client-id", "bridge")
    bridge.wait_for('whycam_alerts_total{camera="door",device="gate",label="fire",phase="raised"}', 1)
    assert bridge.end() == 0


def test_a_port_that_is_taken_is_one_line(broker: Broker, tmp_path: Path) -> None:
    port = free_port()
    first = Bridge(tmp_path, f"mqtt://127.0.0.1:{broker.port}", "--metrics", f"127.0.0.1:{port}")
    command = [sys.executable, "-m", "whycam", "watch", "mqtt://127.0.0.1:1", "--metrics", str(port)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    first.end()
    assert second.returncode == 2
    assert f"127.0.0.1:{port} cannot be listened on" in second.stderr
    assert len(second.stderr.splitlines()) == 1


def test_bundles_are_bounded_and_may_be_taken_back(told: Told) -> None:
    (one,) = BUNDLES["bundles"]
    many = [{**one, "name": f"bundle {number}"} for number in range(500)]
    told.say(("whycam/gate/bundles", {**BUNDLES, "bundles": [{**one, "version": "\ud800"}, *many]}))
    found = told.samples()
    assert len([name for name in found if name.startswith("whycam_bundle_info")]) == LABELS
    assert found['whycam_watch_left_out_total{of="label"}'] == 501 - LABELS
    told.say(("whycam/gate/bundles", b""))
    assert not [name for name in told.samples() if name.startswith("whycam_bundle")]


def test_the_events_of_bundles_are_those_of_the_message() -> None:
    assert get_args(BundleEvent.model_fields["event"].annotation) == EVENTS


def test_a_candidate_that_cannot_judge_is_told(told: Told) -> None:
    told.say(("whycam/gate/door/shadow", {**SHADOW, "candidate": None, "trouble": "no such file"}))
    found = told.samples()
    assert found['whycam_shadow_trouble{camera="door",device="gate"}'] == 1
    assert "whycam_shadow_score" not in names(found)


def test_a_drift_that_has_ended_is_told(told: Told) -> None:
    told.say(("whycam/gate/door/drift", DRIFT))
    told.say(("whycam/gate/door/drift", {**DRIFT, "drifted": False, "statistic": 0.3}))
    found = told.samples()
    assert found['whycam_camera_drifted{camera="door",device="gate"}'] == 0
    assert found['whycam_camera_drift_statistic{camera="door",device="gate"}'] == 0.3
