"""What the service makes of what it finds when it starts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from uuid6 import uuid7

from tests.runtime import tiny_bundle
from tests.runtime.alerts import outboxes
from tests.runtime.mqtt.collector import Collector, until
from tests.runtime.service.running import DEVICE, Running
from whycam.alerts.episodes import Episode
from whycam.alerts.outbox import Outbox
from whycam.mqtt.homeassistant import discovery_topic
from whycam.mqtt.topics import Topics
from whycam.service.clock import Clock
from whycam.service.lane import carried_on

NOW = 1_795_000_000.0


def episode(last_seen: float) -> Episode:
    """An open episode that began ten seconds before it was last seen."""
    times = {"onset": last_seen - 10, "last_above": last_seen, "last_seen": last_seen}
    return outboxes.episode().model_copy(update={**times, "sequence": 3})


def clock(now: float = NOW) -> Clock:
    """A clock that stands still."""
    return Clock(lambda: 5.0, lambda: now)


def test_an_episode_goes_on_at_the_times_that_were_kept() -> None:
    (carried,) = carried_on([episode(NOW - 2)], clock())
    assert carried == episode(NOW - 2)


def test_an_episode_from_the_future_was_last_seen_now() -> None:
    (carried,) = carried_on([episode(NOW + 3600)], clock())
    assert carried.last_seen == NOW
    assert carried.last_seen - carried.onset == 10
    assert carried.sequence == 3


def test_an_episode_of_a_camera_that_was_removed_meanwhile_is_cleared(tmp_path: Path) -> None:
    long = {"merge_seconds": 60, "signal_lost_seconds": 60}
    cameras = [{"alert": {"minimum_seconds": 0.3, **long}}, {"name": "yard"}]
    with Running(tmp_path, cameras=cameras) as running:
        raised = running.alert("raised", camera="gate", label="fight").body
        running.told("gate/state", state="running")
        running.service.hold()
        assert running.service.kill()
        running.configure([{"name": "yard"}])
        start = len(running.subscriber.arrivals)
        running.service.release()
        cleared = running.alert("cleared", start, camera="gate", id=raised["id"]).body
        assert cleared["reason"] == "removed"
        assert cleared["sequence"] == max(
            one.body["sequence"] for one in running.subscriber.since(0) if one.body.get("id") == raised["id"]
        )
        topic = f"whycam/{DEVICE}/gate/state"
        assert running.subscriber.wait_for(lambda one: one.topic == topic and not one.payload, 30, start)


def test_an_episode_of_a_camera_that_was_disarmed_is_cleared(tmp_path: Path) -> None:
    long = {"minimum_seconds": 0.3, "merge_seconds": 60, "signal_lost_seconds": 60}
    with Running(tmp_path, cameras=[{"alert": long}]) as running:
        raised = running.alert("raised", label="fight").body
        running.service.hold()
        assert running.service.kill()
        # As if it had been killed between keeping the command and clearing the episode.
        settings = running.state / "settings.json"
        settings.write_text('{"cameras": {"gate": {"armed": false}}}')
        start = len(running.subscriber.arrivals)
        running.service.release()
        assert running.alert("cleared", start, id=raised["id"]).body["reason"] == "disarmed"


def test_an_episode_of_a_class_that_the_bundle_no_longer_has_is_cleared(tmp_path: Path) -> None:
    """The bundle was exchanged while the service was away; what nobody follows any more must not stay open for ever."""
    with Running(tmp_path, start=False) as running:
        running.state.mkdir()
        box = Outbox(running.state / "outbox.db", 1 << 20, 86400)
        theft = episode(time.time() - 60).model_copy(update={"label": "theft", "id": str(uuid7())})
        box.accept("gate", [], [theft])
        box.close()
        running.service.start()
        cleared = running.alert("cleared", id=theft.id).body
        assert (cleared["label"], cleared["reason"], cleared["sequence"]) == ("theft", "removed", 4)
        running.alert("raised", label="fight")
        running.service.terminate()
        box = Outbox(running.state / "outbox.db", 1 << 20, 86400)
        assert "theft" not in {one.label for one in box.open_episodes("gate")}
        box.close()


def test_two_services_do_not_share_a_state_directory(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        words = [sys.executable, "-m", "whycam", "run", "-c", str(running.config)]
        second = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert second.returncode == 2
        assert f"{running.state}: another whycam runs on it" in second.stderr


def test_a_camera_whose_bundle_comes_later_is_set_up_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny_bundle.build(tmp_path / "later.whycam")
    hidden = bundle.rename(tmp_path / "hidden")
    # As `whycam run`, with less patience.
    code = "from whycam.service import service; service._RETRY_SECONDS = 0.5; from whycam.commands import main; main()"
    with Running(tmp_path, cameras=[{}, {"name": "yard", "bundle": str(bundle)}], start=False) as running:
        running.service._command = [sys.executable, "-c", code, "run", "-c", str(running.config)]
        running.service.start()
        assert "no such bundle" in running.told("yard/state", state="failed").body["reason"]
        hidden.rename(bundle)
        running.told("yard/state", state="running")
        running.alert("raised", camera="yard")
        # Home Assistant did not know its classes until now.
        topic = discovery_topic("homeassistant", Topics("whycam", DEVICE))
        with Collector(running.broker.port, topic) as home:
            until(lambda: "yard.score.fight" in json.loads(home.wait_for(topic)[-1].payload)["components"], seconds=10)


def test_a_root_that_changes_waits_for_a_restart(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        running.configure([{}], broker={"root": "elsewhere"})
        running.service.signal(signal.SIGHUP)
        until(lambda: "'broker.root' has changed" in running.service.log)
        until(lambda: "reloaded: 1 cameras" in running.service.log)
        start = len(running.subscriber.arrivals)
        running.told("gate/score", start)
        running.alert("raised", start)
