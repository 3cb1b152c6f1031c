"""A new version of a bundle under a running service: it holds, or the one before is back, and all hear of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.runtime import tiny_bundle
from tests.runtime.deployment.versions import id_at, make, make_key, put, sign, states
from tests.runtime.mqtt.broker import missing
from tests.runtime.service.faults import CRASH, HANG, site
from tests.runtime.service.running import Running, write_video
from whycam.config.models import Bundles, Camera
from whycam.deployment.store import BundleStore
from whycam.deployment.trust import is_trusted
from whycam.mqtt.payloads import BundlesPayload
from whycam.service.trials import DEATHS, Trials

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


class Deployed:
    """A service on version 1 of an installed bundle, which has held, and what subscribers hear of bundles."""

    def __init__(self, folder: Path, **tables: Any) -> None:
        """Not started yet; `tables` change the configuration."""
        self.store = BundleStore(folder / "state" / "bundles")
        self.slot = self.store.slot("colours")
        self.folder = folder
        self.old = put(self.store, make(folder / "1", "1"))
        self.running = Running(
            folder,
            cameras=[{"bundle": str(self.slot.link)}],
            tables={"bundles": {"grace_seconds": 4, **tables.pop("bundles", {})}, **tables},
            environment={"PYTHONPATH": site(folder / "site")},
        )

    def make(self, version: str = "2") -> Path:
        """Another version, not installed."""
        return make(self.folder / version, version)

    def told(self, event: str, start: int = 0, seconds: float = 40, **wanted: Any) -> dict[str, Any]:
        """What is said of the bundle once this has happened to it."""

        def found(one: Any) -> bool:
            bundles = one.body.get("bundles") if one.topic.endswith("/post/bundles") else None
            happened = bundles[0]["event"] if bundles else None
            return happened is not None and {**happened, "event": event, **wanted} == happened

        body = self.running.must(self.running.subscriber.wait_for(found, seconds, start), f"{event} {wanted}").body
        (bundle,) = BundlesPayload.model_validate(body).bundles
        return bundle.model_dump()


@pytest.fixture
def deployed(tmp_path: Path) -> Deployed:
    return Deployed(tmp_path)


def test_a_version_that_scores_frames_is_taken_up_and_confirmed(deployed: Deployed) -> None:
    with deployed.running as running:
        bundle = deployed.told("confirmed", version="1")
        assert (bundle["name"], bundle["state"], bundle["cameras"]) == ("colours", "current", ["gate"])
        assert running.told("gate/state", state="running").body["version"] == "1"
        start = len(running.subscriber.arrivals)
        new = put(deployed.store, deployed.make(), confirm=False)
        on_trial = deployed.told("installed", start)
        assert (on_trial["state"], on_trial["id"], on_trial["previous"]) == ("on-trial", new, deployed.old)
        held = deployed.told("confirmed", start)
        assert (held["state"], held["id"], held["version"], held["previous"]) == ("current", new, "2", deployed.old)
        assert running.told("gate/state", start, state="running", version="2")
        running.alert("raised", len(running.subscriber.arrivals))
        assert states(deployed.store) == {deployed.old: "before", new: "current"}
        assert not running.service.deaths


def test_an_alert_that_is_open_goes_on_under_the_new_version(tmp_path: Path) -> None:
    deployed = Deployed(tmp_path)
    with deployed.running as running:
        raised = running.alert("raised", label="fight")
        put(deployed.store, deployed.make(), confirm=False)
        deployed.told("confirmed", version="2")
        running.alert("cleared", id=raised.body["id"])
        begun = [one.body["id"] for one in running.subscriber.arrivals if one.body.get("phase") == "raised"]
        assert len(begun) == len(set(begun))


def rot(version: Path) -> None:
    """A file of an installed version is damaged."""
    (version / "head_vjp.onnx").write_bytes(b"rot")


def broken_graph(bundle: Path) -> Path:
    """The bundle with a CNN that loads, and fails with every frame."""
    model = onnx.load(bundle / "features.onnx")
    model.graph.initializer.append(numpy_helper.from_array(np.array([99]), "beyond"))
    model.graph.node.insert(0, helper.make_node("Gather", ["frames", "beyond"], ["given"], axis=0))
    next(node for node in model.graph.node if node.op_type == "Cast").input[0] = "given"
    onnx.save(model, bundle / "features.onnx")
    tiny_bundle.seal(bundle)
    return bundle


def test_a_version_that_does_not_load_is_taken_back_and_the_old_one_never_stops(deployed: Deployed) -> None:
    with deployed.running as running:
        running.told("gate/state", state="running")
        start = len(running.subscriber.arrivals)
        new = deployed.make()
        id = id_at(new)

        put(deployed.store, new, confirm=False)
        rot(deployed.slot.path_of(id))
        bundle = deployed.told("rolled-back", start, id=id)
        assert "head_vjp.onnx: damaged" in bundle["event"]["reason"]
        assert (bundle["id"], bundle["event"]["previous"]) == (deployed.old, deployed.old)
        assert states(deployed.store) == {deployed.old: "current", id: "rolled-back"}
        running.alert("raised", len(running.subscriber.arrivals))
        seen = [one.body["state"] for one in running.subscriber.since(start) if one.topic.endswith("gate/state")]
        assert set(seen) <= {"running"}
        assert not running.service.deaths
        assert "whycam_bundle_rollbacks_total 1.0" in metrics(running)


def metrics(running: Running) -> str:
    """What /metrics says."""
    port = running.service.log.split("figures and health at http://127.0.0.1:")[1].split("/")[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_a_version_whose_frames_fail_is_taken_back(deployed: Deployed) -> None:
    with deployed.running as running:
        running.told("gate/state", state="running")
        new = put(deployed.store, broken_graph(deployed.make()), confirm=False)
        bundle = deployed.told("rolled-back", id=new)
        assert "frames could not be scored" in bundle["event"]["reason"]
        start = len(running.subscriber.arrivals)
        assert running.told("gate/state", start, state="running", version="1")
        running.alert("raised", start)
        assert not running.service.deaths


def test_a_version_that_takes_the_service_down_is_taken_back_at_the_third_start(deployed: Deployed) -> None:
    new = deployed.make()
    put(deployed.store, new, confirm=False)
    (deployed.slot.path_of(id_at(new)) / CRASH).touch()
    deployed.running.start_seconds = 90
    with deployed.running as running:
        bundle = deployed.told("rolled-back", seconds=90, id=id_at(new))
        assert bundle["event"]["reason"] == "the service ended 2 times while it was on trial"
        assert [death.status for death in running.service.deaths] == [-signal.SIGSEGV] * 2
        running.alert("raised")
        assert running.told("gate/state", state="running").body["version"] == "1"


def test_a_version_in_which_scoring_hangs_is_taken_back(deployed: Deployed) -> None:
    with deployed.running as running:
        running.told("gate/state", state="running")
        new = deployed.make()
        put(deployed.store, new, confirm=False)
        (deployed.slot.path_of(id_at(new)) / HANG).touch()
        bundle = deployed.told("rolled-back", seconds=90, id=id_at(new))
        assert "and none was scored" in bundle["event"]["reason"]
        running.alert("raised", len(running.subscriber.arrivals))
        (death,) = running.service.deaths
        assert death.status == 2


def test_what_was_rolled_back_while_the_broker_was_away_is_told_when_it_is_back(deployed: Deployed) -> None:
    with deployed.running as running:
        running.told("gate/state", state="running")
        running.broker.stop()
        new = deployed.make()
        put(deployed.store, new, confirm=False)
        rot(deployed.slot.path_of(id_at(new)))
        wait_until(lambda: deployed.slot.current == deployed.old)
        running.broker.start()
        assert deployed.told("rolled-back", id=id_at(new))["id"] == deployed.old


def wait_until(done: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ending_the_service_in_order_is_not_held_against_a_version(deployed: Deployed) -> None:
    deployed.running._cameras = [
        {"bundle": str(deployed.slot.link), "source": "rtsp://127.0.0.1:1/nothing", "repeat": False}
    ]
    with deployed.running as running:
        new = put(deployed.store, deployed.make(), confirm=False)
        for _ in range(3):
            wait_until(lambda: starts(deployed) == 1)
            assert running.service.signal(signal.SIGTERM, deadly=True)
            running.service.wait_ready()
        assert deployed.slot.current == new
        assert starts(deployed) <= 1


def test_a_service_that_cannot_begin_for_another_reason_is_not_held_against_a_version(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        deployed = Deployed(tmp_path, metrics={"port": taken.getsockname()[1]})
        new = put(deployed.store, deployed.make(), confirm=False)
        deployed.running._start = False
        with deployed.running as running:
            command = [sys.executable, "-m", "whycam", "run", "-c", running.config]
            for _ in range(3):
                run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
                assert run.returncode == 2, run.stderr
                assert "metrics" in run.stderr.splitlines()[-1]
    assert (deployed.slot.current, starts(deployed)) == (new, 0)


def starts(deployed: Deployed) -> int:
    """How many services are counted that run the version on trial."""
    trial = deployed.slot.look().trial
    return -1 if trial is None else trial.starts


def test_the_first_version_has_none_to_go_back_to_and_that_is_told(tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "state" / "bundles")
    only = make(tmp_path / "1", "1")
    put(store, only, confirm=False)
    rot(store.slot("colours").path_of(id_at(only)))
    link = str(store.slot("colours").link)
    with Running(tmp_path, cameras=[{"bundle": link}, {"name": "yard"}]) as running:
        told = running.told("bundles").body["bundles"][0]["event"]
        assert told["event"] == "failed"
        assert "head_vjp.onnx: damaged" in told["reason"]
        state = running.told("gate/state", state="failed").body
        assert "head_vjp.onnx" in state["reason"]
        assert state["bundle"] == "colours"
        running.told("yard/state", state="running")
        # A restart does not try it again; installing it again, whole, does.
        running.service.kill()
        running.service.wait_ready()
        put(store, only, confirm=False)
        running.told("gate/state", len(running.subscriber.arrivals), state="running", seconds=60)


def test_only_what_a_trusted_key_has_signed_is_run(tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys")
    signed, unsigned = make(tmp_path / "signed"), make(tmp_path / "unsigned")
    sign(signed, key)
    tables = {"bundles": {"trust_directory": str(tmp_path / "keys")}}
    cameras = [{"bundle": str(signed)}, {"name": "yard", "bundle": str(unsigned)}]
    with Running(tmp_path, cameras=cameras, tables=tables) as running:
        running.told("gate/state", state="running")
        reason = running.told("yard/state", state="failed").body["reason"]
        assert "is not signed" in reason
        running.configure(cameras, bundles={"allow_unsigned": True})
        running.service.kill()
        running.told("yard/state", state="running")


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_a_store_that_is_away_for_a_while_takes_neither_the_service_nor_the_trial_along(tmp_path: Path) -> None:
    deployed = Deployed(tmp_path)
    deployed.running._environment = {}
    # Root without its right to read all that there is.
    rights = "-dac_override,-dac_read_search"
    deployed.running._behind = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]
    with deployed.running as running:
        running.told("gate/state", state="running")
        deployed.store.root.chmod(0)
        try:
            start = len(running.subscriber.arrivals)
            time.sleep(3)
            running.alert("raised", start)
        finally:
            deployed.store.root.chmod(0o755)
        new = put(deployed.store, deployed.make(), confirm=False)
        deployed.told("confirmed", version="2", id=new)
        assert not running.service.deaths


def test_a_camera_that_goes_away_after_its_first_frames_is_not_held_against_a_version(deployed: Deployed) -> None:
    video = write_video(deployed.folder / "short.mp4", [("quiet", 2)])
    deployed.running._cameras = [{"bundle": str(deployed.slot.link), "source": str(video), "repeat": False}]
    new = put(deployed.store, deployed.make(), confirm=False)
    with deployed.running as running:
        running.told("gate/state", state="failed")
        time.sleep(6)
        assert "whycam_bundle_rollbacks_total 0.0" in metrics(running)
        assert (deployed.slot.current, starts(deployed)) == (new, 1)


def test_a_deadly_version_stays_barred_while_the_disk_does_not_take_its_end(tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store")
    slot = store.slot("colours")
    put(store, make(tmp_path / "1", "1"))
    new = put(store, make(tmp_path / "2", "2"), confirm=False)
    with slot.changing():
        slot.count_start(DEATHS)
    camera = Camera(name="gate", source="video.mp4", bundle=slot.link)
    (store.root / ".lock").unlink()
    (store.root / ".lock").mkdir()
    trials = Trials(4)
    for _ in range(3):
        trials.begin([camera])
        assert "ended 2 times" in trials.barred[slot.path_of(new)]
        assert not trials.refused({"gate": (camera, trials.barred[slot.path_of(new)])})
    (store.root / ".lock").rmdir()
    assert trials.refused({"gate": (camera, trials.barred[slot.path_of(new)])})
    assert states(store)[new] == "rolled-back"


def test_two_ways_to_one_slot_are_one_trial(tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "store")
    put(store, make(tmp_path / "1", "1"), confirm=False)
    (tmp_path / "way").symlink_to(store.root)
    bundles = [store.slot("colours").link, tmp_path / "way" / "colours" / "current"]
    Trials(4).begin([Camera(name=f"c{n}", source="video.mp4", bundle=bundle) for n, bundle in enumerate(bundles)])
    trial = store.slot("colours").look().trial
    assert trial is not None
    assert trial.starts == 1


@pytest.mark.parametrize("trusted", [True, False])
def test_a_version_that_is_not_trusted_any_more_does_not_take_the_place_of_a_failed_one(
    trusted: bool, tmp_path: Path
) -> None:
    store, keys = BundleStore(tmp_path / "store"), tmp_path / "keys"
    slot = store.slot("colours")
    old, new = make(tmp_path / "1", "1"), make(tmp_path / "2", "2")
    sign(old, make_key(keys, "old"))
    sign(new, make_key(keys, "new"))
    put(store, old)
    put(store, new, confirm=False)
    if not trusted:
        (keys / "old.pub").unlink()
    with slot.changing():
        slot.count_start(DEATHS)
    trials = Trials(4, lambda path: is_trusted(path, Bundles(trust_directory=keys)))
    trials.begin([Camera(name="gate", source="video.mp4", bundle=slot.link)])
    found = slot.look()
    assert found.event is not None and found.event.reason is not None
    if trusted:
        assert (found.current, trials.barred) == (id_at(old), {})
        return
    assert (found.current, found.event.event) == (id_at(new), "failed")
    assert found.event.reason.endswith("while it was on trial, and the version before it is not trusted here any more")
    assert found.event.reason in trials.barred[slot.path_of(id_at(new))]
    assert trials.rollbacks == 0
