"""A shadow that names links of the store: the service follows them, and leaves the live camera alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.runtime import tiny_bundle
from tests.runtime.deployment.versions import id_at, make, passed, put, put_candidate, states
from tests.runtime.mqtt.broker import missing
from tests.runtime.mqtt.collector import until
from tests.runtime.service.running import DEVICE, Running
from whycam.deployment.promote import promote
from whycam.deployment.store import BundleStore

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

SHADOW = f"whycam/{DEVICE}/gate/shadow"


def compared(running: Running, version: str, start: int) -> Any:
    """Wait until the candidate of this version judges frames."""

    def found(one: Any) -> bool:
        return one.topic == SHADOW and (one.body["candidate"] or {}).get("version") == version and one.body["compared"]

    return running.must(running.subscriber.wait_for(found, 60, start), f"shadow {version}").body


def states_of_camera(running: Running, start: int) -> list[dict[str, Any]]:
    return [one.body for one in running.subscriber.since(start) if one.topic == f"whycam/{DEVICE}/gate/state"]


def test_a_candidate_is_taken_up_replaced_and_promoted(tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "state" / "bundles")
    slot = store.slot("colours")
    old = put(store, make(tmp_path / "1", "1"))
    two = tiny_bundle.reweigh(make(tmp_path / "2", "2"), tiny_bundle.BLIND)
    camera = {"bundle": str(slot.link), "shadow": {"bundle": str(slot.candidate_link), "within_seconds": 1}}
    with Running(tmp_path, cameras=[camera]) as running:
        assert "there is no candidate" in running.told("gate/shadow").body["trouble"]
        running.alert("raised")

        start = len(running.subscriber.arrivals)
        put_candidate(store, two)
        assert compared(running, "2", start)["live"]["version"] == "1"
        told = running.told("bundles", start).body["bundles"][0]
        assert (told["id"], told["candidate"], told["state"]) == (old, id_at(two), "current")

        three = make(tmp_path / "3", "3")
        between = len(running.subscriber.arrivals)
        put_candidate(store, three)
        assert compared(running, "3", between)["trouble"] is None
        assert states(store) == {old: "current", id_at(three): "candidate"}
        seen = states_of_camera(running, start)
        assert {state["state"] for state in seen} <= {"running"}, "the live window was kept"

        start = len(running.subscriber.arrivals)
        promote("colours", store, None, test=passed)
        running.told("gate/state", start, state="running", version="3", seconds=60)
        until(lambda: slot.look().trial is None, "the end of the trial", 40)
        assert states(store) == {old: "before", id_at(three): "current"}
        running.alert("raised", len(running.subscriber.arrivals))
        assert not running.service.deaths


def test_a_shadow_that_names_a_current_link_follows_it_and_does_not_end_its_trial(tmp_path: Path, whycam: Any) -> None:
    store = BundleStore(tmp_path / "state" / "bundles")
    link = store.slot("colours").link
    put(store, make(tmp_path / "1", "1"))
    with Running(tmp_path, cameras=[{"shadow": {"bundle": str(link)}}]) as running:
        compared(running, "1", 0)
        start = len(running.subscriber.arrivals)
        put(store, make(tmp_path / "2", "2"), confirm=False)
        compared(running, "2", start)
        assert {state["state"] for state in states_of_camera(running, start)} <= {"running"}
        waited = whycam("bundle", "wait", "-c", running.config, "--seconds", "60")
        assert waited.returncode == 2
        assert "no camera runs" in waited.stderr
        assert "no camera runs it" in whycam("bundle", "list", "-c", running.config).stdout
