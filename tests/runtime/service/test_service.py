"""`whycam run` from end to end: what subscribers hear, and what holds when it is stopped, killed and reloaded."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.runtime.mqtt.broker import missing
from tests.runtime.service.running import DEVICE, RULES, Running, write_video
from whycam.mqtt.payloads import AlertPayload, StatePayload, TelemetryPayload

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service on one camera, for the tests that leave it as it is."""
    with Running(tmp_path_factory.mktemp("running")) as made:
        yield made


def picture(jpeg: bytes) -> Any:
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded


def test_an_alert_says_what_when_where_and_why(running: Running) -> None:
    start = len(running.subscriber.arrivals)
    raised = running.alert("raised", start, label="fight")
    alert = AlertPayload.model_validate(raised.body)
    assert alert.camera == "gate"
    assert alert.device == DEVICE
    assert alert.score == alert.peak > alert.threshold == 0.7
    assert uuid.UUID(alert.id).version == 7
    assert alert.onset < alert.time
    assert alert.duration_seconds == pytest.approx(RULES["minimum_seconds"], abs=0.15)
    why = alert.explanation
    assert why is not None
    assert (why.method, why.versus) == ("grad-cam++", "normal")
    assert sum(why.relevance) == pytest.approx(1, abs=1e-4)
    assert why.frames[0].relevance == max(why.relevance)
    assert (why.frame_width, why.frame_height) == (64, 48)
    assert why.regions, "a picture that is green all over has a strongest region"
    for region in why.regions:
        assert 0 <= region.x < region.x + region.width <= 64
        assert 0 <= region.y < region.y + region.height <= 48
    cleared = running.alert("cleared", start, id=alert.id)
    assert cleared.body["sequence"] > alert.sequence
    assert cleared.body["reason"] == "below-threshold"
    assert cleared.body["duration_seconds"] == pytest.approx(1.5, abs=0.3)


def test_the_heat_map_comes_as_a_jpeg_of_its_own(running: Running) -> None:
    start = len(running.subscriber.arrivals)
    raised = running.alert("raised", start, label="fight")
    topic = raised.body["explanation"]["heatmap_topic"]
    assert topic == f"whycam/{DEVICE}/gate/alert/{raised.body['id']}/heatmap"
    sent = running.subscriber.wait_for(lambda one: one.topic == topic, 20, start)
    assert sent is not None
    assert picture(sent.payload).shape == (48, 64, 3)


def test_the_evidence_holds_what_was_told_and_seen(running: Running) -> None:
    raised = running.alert("raised", len(running.subscriber.arrivals), label="fire")
    running.alert("cleared", id=raised.body["id"])
    folder = Path(raised.body["evidence"])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (folder / "clip.mp4").exists():
        time.sleep(0.1)
    told = json.loads((folder / "alert.json").read_text())["messages"]
    assert told[0] == raised.body
    assert picture((folder / "heatmap.jpg").read_bytes()).size
    clip = cv2.VideoCapture(str(folder / "clip.mp4"))
    colours = []
    while (read := clip.read())[0]:
        colours.append(int(read[1].mean(axis=(0, 1)).argmax()))
    assert len(colours) > 5
    assert colours[-1] == 2, "it ends in the red that was alarmed about"
    assert 0 in colours, "and begins before it"


def test_scores_state_and_telemetry(running: Running) -> None:
    start = len(running.subscriber.arrivals)
    scores = running.told("gate/score", start, label="fight", alert=True).body
    assert scores["scores"]["fight"] > 0.9
    state = StatePayload.model_validate(running.told("gate/state").body)
    assert state.runs_on == {"CPUExecutionProvider": 1.0}
    assert state.thresholds == {"fight": 0.7, "fire": 0.7}
    telemetry = TelemetryPayload.model_validate(running.told("telemetry", start).body)
    assert telemetry.cameras["gate"].scored > 0
    assert telemetry.outbox is not None
    assert telemetry.outbox.evicted == {} or set(telemetry.outbox.evicted.values()) == {0}
    assert {"alerts", "explanations", "evidence"} <= set(telemetry.queues)


def ask(running: Running, action: str, body: object, correlation: bytes = b"42") -> dict[str, Any]:
    """Send a command with a topic for the answer, and wait for that."""
    start = len(running.subscriber.arrivals)
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "answers/here"
    properties.CorrelationData = correlation
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    running.subscriber.publish(f"whycam/{DEVICE}/gate/{action}", payload, properties=properties)
    answer = running.subscriber.wait_for(lambda one: one.topic == "answers/here", 30, start)
    assert answer is not None
    return answer.body


def test_an_explanation_on_demand(running: Running) -> None:
    running.told("gate/score", len(running.subscriber.arrivals), warm=True)
    answer = ask(running, "explain", {"request_id": "a", "label": "fire", "method": "layercam", "heatmaps": "all"})
    assert answer["schema"] == "whycam.explain.response/1"
    assert answer["request_id"] == "a"
    assert answer["label"] == "fire"
    assert answer["explanation"]["method"] == "layercam"
    assert [frame["index"] for frame in answer["heatmaps"]] == [0, 1, 2, 3]
    for frame in answer["heatmaps"]:
        assert picture(base64.b64decode(frame["image"])).shape[2] == 3


def test_the_last_alert_can_be_explained_again(running: Running) -> None:
    raised = running.alert("raised", len(running.subscriber.arrivals))
    answer = ask(running, "explain", {"window": "alert", "versus": "none"})
    assert answer["alert"] == raised.body["id"]
    assert answer["label"] == raised.body["label"]
    assert answer["explanation"]["versus"] is None


@pytest.mark.parametrize(
    ("body", "word"),
    [({"label": "theft"}, "theft"), ({"method": "magic"}, "method"), ({"windows": "latest"}, "window"), (b"{", "JSON")],
)
def test_a_request_that_makes_no_sense_is_answered_with_the_reason(running: Running, body: object, word: str) -> None:
    running.told("gate/score", len(running.subscriber.arrivals), warm=True)
    answer = ask(running, "explain", body)
    assert answer["schema"] == "whycam.error/1"
    assert answer["code"] == "invalid"
    assert word in answer["message"]


def test_metrics_and_health_are_served(running: Running) -> None:
    line = next(line for line in running.service.log.splitlines() if "http://127.0.0.1:" in line)
    address = "http://127.0.0.1:" + line.rpartition("http://127.0.0.1:")[2].split("/")[0].split()[0]
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        text = answer.read().decode()
    assert 'whycam_camera_scored_total{camera="gate"}' in text
    with urllib.request.urlopen(f"{address}/healthz") as answer:
        assert json.load(answer)["healthy"] is True
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{address}/other")


def test_what_was_set_holds_after_a_restart(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        answer = ask(running, "set", {"armed": False, "thresholds": {"fight": 0.9}, "request_id": "x"})
        assert answer["schema"] == "whycam.set.result/1"
        assert answer["armed"] is False
        assert answer["thresholds"] == {"fight": 0.9, "fire": 0.7}
        assert running.service.kill()
        assert running.service.wait_ready()
        start = len(running.subscriber.arrivals)
        state = running.told("gate/state", start, armed=False).body
        assert state["thresholds"] == {"fight": 0.9, "fire": 0.7}
        running.told("gate/score", start, label="fight", alert=True)
        running.told("gate/score", start, label="fire", alert=True)
        assert not [one for one in running.subscriber.since(start) if one.kind == "alert"], "it is disarmed"
        assert ask(running, "set", {"armed": True})["armed"] is True
        assert running.alert("raised", start, label="fight").body["threshold"] == 0.9


def test_an_episode_outlives_a_restart(tmp_path: Path) -> None:
    with Running(tmp_path, start=False) as running:
        long = write_video(tmp_path / "long.mp4", (("quiet", 10), ("fight", 600)))
        running.configure([{"source": str(long), "repeat": False}])
        running.service.start()
        raised = running.alert("raised", label="fight").body
        began = time.monotonic()
        assert running.service.terminate()
        assert running.service.deaths[-1].status == 0
        assert time.monotonic() - began < 8, "5 s are promised; a busy machine may need a little more"
        running.told("availability")
        write_video(long, (("fight", 30), ("quiet", 100)))
        assert running.service.wait_ready()
        cleared = running.alert("cleared").body
        assert cleared["id"] == raised["id"], "it is the same episode"
        alerts = [one.body for one in running.subscriber.since(0) if one.kind == "alert"]
        assert {one["id"] for one in alerts} == {raised["id"]}
        assert [one["sequence"] for one in alerts] == list(range(len(alerts)))


def test_it_ends_in_order_while_a_thread_is_within_onnx_runtime(tmp_path: Path) -> None:
    """An explanation may be at work when the stop has had its seconds; ending Python would abort within its C++."""
    code = """
import threading, time
from onnxruntime import InferenceSession
from whycam.commands import main
from whycam.service.service import Service

stop = Service._stop

def work():
    while True:
        InferenceSession({graph!r})

def stop_while_at_work(service):
    stop(service)
    threading.Thread(target=work, daemon=True).start()
    time.sleep(0.3)

Service._stop = stop_while_at_work
main()
"""
    with Running(tmp_path, start=False) as running:
        code = code.format(graph=str(running.bundle / "features.onnx"))
        running.service._command = [sys.executable, "-c", code, "run", "-c", str(running.config)]
        running.service.start()
        assert running.service.terminate()
        assert running.service.deaths[-1].status == 0


def test_reload_adds_changes_and_removes_cameras_without_touching_the_others(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        running.told("gate/score", warm=True)
        before = running.told("gate/state", state="running").body
        running.configure([{}, {"name": "yard", "threshold": 0.5}])
        assert running.service.signal(signal.SIGHUP)
        added = running.told("yard/state", state="running").body
        assert added["thresholds"] == {"fight": 0.5, "fire": 0.5}
        running.configure([{}, {"name": "yard", "threshold": 0.6}])
        assert running.service.signal(signal.SIGHUP)
        running.told("yard/state", thresholds={"fight": 0.6, "fire": 0.6})
        start = len(running.subscriber.arrivals)
        running.configure([{}])
        assert running.service.signal(signal.SIGHUP)
        topic = f"whycam/{DEVICE}/yard/state"
        assert running.subscriber.wait_for(lambda one: one.topic == topic and not one.payload, 20, start)
        after = running.told("gate/state", len(running.subscriber.arrivals), 60).body
        assert after["since"] == before["since"]
        assert after["reconnects"] >= before["reconnects"]
        assert len(running.service.deaths) == 0


def test_a_broken_configuration_is_not_reloaded(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        running.config.write_text(running.config.read_text() + "\nnonsense = 1\n")
        assert running.service.signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while "nonsense" not in running.service.log and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "nonsense" in running.service.log
        running.alert("raised", len(running.subscriber.arrivals))


def test_one_bad_camera_does_not_hold_up_the_others(tmp_path: Path) -> None:
    gone = {"name": "gone", "source": "rtsp://127.0.0.1:9/x", "repeat": False}
    cameras: list[dict[str, Any]] = [{}, {"name": "dark", "bundle": "nowhere.whycam"}, gone]
    with Running(tmp_path, cameras=cameras) as running:
        running.alert("raised")
        dark = running.told("dark/state", state="failed").body
        assert "nowhere.whycam" in dark["reason"]
        assert running.told("gone/state", state="connecting").body["reason"]


def test_without_room_for_evidence_alerts_go_without(tmp_path: Path) -> None:
    with Running(tmp_path, tables={"evidence": {"min_free_bytes": 1 << 60}}) as running:
        raised = running.alert("raised").body
        running.alert("cleared", id=raised["id"])
        assert raised["explanation"] is not None
        assert not Path(raised["evidence"]).exists()
        told = running.told("telemetry", len(running.subscriber.arrivals)).body
        assert sum(told["evidence_skipped"].values()) > 0


def test_a_source_with_a_password_appears_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "camera-secret"
    secret.write_text("guard:s3cret\n")
    secret.chmod(0o600)
    camera = {"source": "rtsp://127.0.0.1:9/x", "repeat": False, "credentials_file": str(secret)}
    with Running(tmp_path / "run", cameras=[camera], tables={"metrics": {"enabled": False}}) as running:
        running.told("gate/state", state="connecting")
        running.told("telemetry", len(running.subscriber.arrivals))
        everything = running.service.log.encode() + b"".join(one.payload for one in running.subscriber.since(0))
        assert b"s3cret" not in everything
        assert b"guard" not in everything


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "no such file"),
        ("device = 'x'\n", "camera"),
        ("device = 'x'\n[[camera]]\nname='a'\nsource='v.mp4'\nbundle='none.whycam'\n", "none.whycam"),
    ],
)
def test_what_it_cannot_begin_with_is_one_line(tmp_path: Path, config: str | None, words: str) -> None:
    path = tmp_path / "whycam.toml"
    if config is not None:
        path.write_text(config)
    environment = {**os.environ, "STATE_DIRECTORY": str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-m", "whycam", "run", "-c", path], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 2
    assert words in done.stderr.lower()
    assert "Traceback" not in done.stderr


def test_mqtt_3_1_1_by_setting(tmp_path: Path) -> None:
    with Running(tmp_path, tables={"broker": {"protocol": "3.1.1"}}) as running:
        raised = running.alert("raised", label="fight").body
        assert raised["explanation"]["method"] == "grad-cam++"
        running.alert("cleared", id=raised["id"])
        # Without response topics, answers go where the contract says.
        start = len(running.subscriber.arrivals)
        running.subscriber.publish(f"whycam/{DEVICE}/gate/set", b'{"armed": false, "request_id": "old"}')
        assert running.told("gate/set/response", start, request_id="old").body["armed"] is False
        assert "as whycam-post (p2," in running.broker.log  # Mosquitto's number for 3.1.1
