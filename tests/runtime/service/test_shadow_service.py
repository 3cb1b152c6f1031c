"""A shadow in the running service: what subscribers hear, and that the live camera goes on whatever it does."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import urllib.request
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.runtime import tiny_bundle
from tests.runtime.mqtt.broker import missing
from tests.runtime.mqtt.collector import until
from tests.runtime.service.faults import CRASH, CRASH_LATER, site
from tests.runtime.service.running import DEVICE, Running
from whycam.mqtt.payloads import DisagreementPayload, ShadowPayload

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

ALONE = "was raised by the live bundle alone"
SHADOW = f"whycam/{DEVICE}/gate/shadow"


def running_with(directory: Path, **shadow: Any) -> Running:
    """A service whose candidate, `blind.whycam`, takes a fight for normal."""
    candidate = directory / "blind.whycam"
    running = Running(directory, cameras=({"shadow": {"bundle": str(candidate), "within_seconds": 1, **shadow}},))
    tiny_bundle.reweigh(Path(shutil.copytree(running.bundle, candidate)), tiny_bundle.BLIND)
    return running


def metrics(running: Running) -> dict[str, float]:
    line = [line for line in running.service.log.splitlines() if "http://127.0.0.1:" in line][-1]
    address = "http://127.0.0.1:" + line.rpartition("http://127.0.0.1:")[2].split("/")[0]
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_a_disagreement_is_told_with_both_heat_maps_and_no_alert_is_the_candidates(tmp_path: Path) -> None:
    with running_with(tmp_path) as running:
        arrival = running.told("gate/shadow/disagreement", label="fight")
        told = DisagreementPayload.model_validate(arrival.body)
        assert told.raised_by == "live"
        for view in (told.live, told.candidate):
            assert view.heatmap is not None
            jpeg = np.frombuffer(base64.b64decode(view.heatmap.image), np.uint8)
            picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
            assert picture is not None
            assert picture.shape == (48, 64, 3), "the camera's own picture"
        assert told.live.heatmap is not None
        assert told.candidate.heatmap is not None
        assert told.live.heatmap.image != told.candidate.heatmap.image
        assert told.alert is not None
        running.alert("raised", label="fight", id=told.alert)
        running.alert("raised", label="fire")

        def counted(one: Any) -> bool:
            episodes = one.body.get("episodes", {}) if one.topic == SHADOW else {}
            return bool(episodes.get("both") and episodes.get("live_only"))

        stands = running.subscriber.wait_for(counted, 30)
        assert stands is not None
        payload = ShadowPayload.model_validate(stands.body)
        assert payload.shares_features
        assert payload.trouble is None
        assert payload.candidate is not None
        assert payload.compared > payload.agreed > 0
        figures = metrics(running)
        assert figures['whycam_shadow_episodes_total{camera="gate",raised_by="live"}'] >= 1
        assert figures['whycam_shadow_frames_total{camera="gate",outcome="compared"}'] > 0
        alerts = [one for one in running.subscriber.since(0) if one.kind == "alert" and one.body["phase"] == "raised"]
        spans = [one.body["label"] for one in alerts]
        assert all(before != after for before, after in pairwise(spans)), "one voice raises"


def test_disagreements_wait_for_a_broker_that_is_away(tmp_path: Path) -> None:
    with running_with(tmp_path) as running:
        running.told("gate/shadow", trouble=None)
        running.broker.stop()
        start, before = len(running.subscriber.arrivals), running.service.log.count(ALONE)
        until(lambda: running.service.log.count(ALONE) > before, "a disagreement")
        running.broker.start()
        assert running.told("gate/shadow/disagreement", start, label="fight").body["live"]["heatmap"]


def test_a_broken_candidate_is_told_of_and_the_camera_goes_on(tmp_path: Path) -> None:
    running = running_with(tmp_path)
    (tmp_path / "blind.whycam" / "step.onnx").write_bytes(b"nonsense")
    with running:
        running.alert("raised", label="fight")
        told = ShadowPayload.model_validate(running.told("gate/shadow").body)
        assert told.trouble is not None
        assert "step.onnx: damaged" in told.trouble
        running.alert("cleared", label="fire")
        assert running.told("gate/state", state="running")
        assert running.service.log.count("the shadow fails") == 1


def test_a_reload_gives_and_takes_the_shadow_and_leaves_the_camera_alone(tmp_path: Path) -> None:
    running = running_with(tmp_path)
    with_shadow = dict(running._cameras[0])
    running._cameras = ({},)
    with running:
        running.alert("raised", label="fight")
        assert not [one for one in running.subscriber.since(0) if one.topic == SHADOW]
        running.configure([with_shadow])
        start = len(running.subscriber.arrivals)
        assert running.service.signal(signal.SIGHUP)
        assert running.subscriber.wait_for(lambda one: one.topic == SHADOW and one.body["compared"] > 0, 30, start), (
            running.service.log
        )
        running.configure([{}])
        assert running.service.signal(signal.SIGHUP)
        until(lambda: running.service.log.count("reloaded: 1 cameras, 1 new or changed") == 2, "the second reload")
        quiet = len(running.subscriber.arrivals)
        running.alert("raised", quiet, label="fight")
        assert not [one for one in running.subscriber.since(quiet) if one.topic == SHADOW]
        states = [one.body for one in running.subscriber.since(start) if one.topic == f"whycam/{DEVICE}/gate/state"]
        assert states
        assert "connecting" not in {state["state"] for state in states}
        assert {state["reconnects"] for state in states} == {0}


def test_the_configuration_is_checked_with_its_candidate(tmp_path: Path, whycam: Any) -> None:
    running = running_with(tmp_path, threshold={"smoke": 0.5})
    document = {"name": "gate", "source": str(running.video), "bundle": str(running.bundle)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in document.items()]
    shadow = ["[camera.shadow]", f"bundle = {json.dumps(str(tmp_path / 'blind.whycam'))}"]
    running.config.write_text("\n".join(["device = 'post'", "[[camera]]", *lines, *shadow]) + "\n")
    assert "shadow: camera gate" in whycam("config", "check", running.config).stdout
    for wrong, said in (("threshold = {smoke = 0.5}", "threshold of 'smoke'"), ("precision = 'int4'", "int4")):
        running.config.write_text("\n".join(["device = 'post'", "[[camera]]", *lines, *shadow, wrong]) + "\n")
        answer = whycam("config", "check", running.config)
        assert answer.returncode == 2
        assert said in answer.stderr
        assert answer.stderr.count("camera 'gate'") == 1
        assert "shadow: " in answer.stderr


def troubled(running: Running, what: str, seconds: float = 90) -> None:
    """Wait until the shadow tells of this trouble."""

    def found(one: Any) -> bool:
        return one.topic == SHADOW and what in (one.body["trouble"] or "")

    running.must(running.subscriber.wait_for(found, seconds), what)


def test_a_candidate_that_crashes_does_so_in_its_self_test_and_the_service_never_ends(tmp_path: Path) -> None:
    running = running_with(tmp_path)
    running._environment = {"PYTHONPATH": site(tmp_path / "site")}
    (tmp_path / "blind.whycam" / CRASH).touch()
    with running:
        troubled(running, "was ended by SIGSEGV")
        running.alert("raised", len(running.subscriber.arrivals))
        assert not running.service.deaths


def test_a_candidate_that_takes_the_service_down_twice_is_left_out_and_the_camera_goes_on(tmp_path: Path) -> None:
    running = running_with(tmp_path)
    running._environment = {"PYTHONPATH": site(tmp_path / "site")}
    (tmp_path / "blind.whycam" / CRASH_LATER).touch()
    with running:
        troubled(running, "the service ended 2 times while it was tried")
        assert [death.status for death in running.service.deaths] == [-signal.SIGSEGV] * 2
        running.alert("raised", len(running.subscriber.arrivals))
        assert "ended 2 times while it was tried" in running.service.log
        assert len(running.service.deaths) == 2


def test_a_candidate_that_has_compared_enough_frames_is_not_marked_any_more(tmp_path: Path) -> None:
    with running_with(tmp_path) as running:
        running.told("gate/shadow", trouble=None)
        marks = running.state / "candidates.json"
        until(lambda: marks.exists() and len(json.loads(marks.read_text())["starts"]) == 1, "a mark")
        until(lambda: not json.loads(marks.read_text())["starts"], "no mark", 40)
        assert len(json.loads(marks.read_text())["passed"]) == 1
