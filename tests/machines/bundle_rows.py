"""Bundles on a device: a good one replaces another, a bad one is refused, or goes back by itself and says so."""

from __future__ import annotations

import time
from typing import Any

from tests.machines.bundles import BLIND, GOOD, UNTRUSTED, WRONG
from tests.machines.device import BUNDLES_TOPIC, CONFIG_PATH, Device
from tests.machines.rows import Row
from tests.machines.stage import Stage

PART = "bundles"
REFUSED = 2
"""The exit status of what is refused."""


def run(stage: Stage) -> list[Row]:
    with stage.device() as device:
        stage.tell("boots")
        device.start()
        device.works(time.monotonic())
        stage.tell("a good one")
        rows = [_good(device)]
        stage.tell("bad ones")
        rows.append(_refused(device, UNTRUSTED, "signed by a key that the device does not trust: refused", "trust"))
        rows.append(_refused(device, WRONG, "does not compute what its golden window says: refused", "self-test"))
        stage.tell("one that is blind")
        rows.append(_goes_back(device))
        stage.tell("rollback")
        rows.append(_rolled_back(device))
        rows.append(_nothing_lost(device))
        device.machine.shut_down()
    return rows


def _install(name: str) -> str:
    return f"whycam bundle install /mnt/bundles/{name}.whycam.tar -c {CONFIG_PATH}"


def _event(device: Device, event: str, since: float, seconds: float) -> tuple[float, dict[str, Any]] | None:
    """How long after `since`, and with what, the device told this event of its bundle."""

    def told(one: Any) -> bool:
        return one.topic.endswith(BUNDLES_TOPIC) and any(item["event"] == event for item in _events(one.body))

    arrival = device.subscriber.wait_for(lambda one: one.arrived >= since and told(one), seconds)
    if arrival is None:
        return None
    return arrival.arrived - since, next(item for item in _events(arrival.body) if item["event"] == event)


def _events(body: dict[str, Any]) -> list[dict[str, Any]]:
    last = (bundle.get("event") for bundle in body.get("bundles", ()))
    return [one for one in last if one]


def _good(device: Device) -> Row:
    row = Row(PART, "another version is installed, taken up by the service, and confirmed over MQTT")
    begun = time.monotonic()
    device.machine.run(_install(GOOD[1]))
    row.measured.append(f"installed in {time.monotonic() - begun:.1f} s")
    confirmed = _event(device, "confirmed", begun, 180)
    if row.must(confirmed is not None, "not confirmed within 180 s") and confirmed is not None:
        row.measured.append(f"confirmed {confirmed[0]:.1f} s after the command")
    row.must(device.bundle == GOOD[1], f"{device.bundle} is current")
    return row


def _refused(device: Device, name: str, check: str, word: str) -> Row:
    row = Row(PART, check)
    before = device.bundle
    done = device.machine.run(_install(name), check=False)
    said = (done.stderr or done.stdout).decode(errors="replace").strip()
    row.must(done.returncode == REFUSED, f"status {done.returncode}: {said}")
    row.must(word in said.splitlines()[-1], f"it says: {said}")
    row.must(device.bundle == before, f"{device.bundle} is current")
    row.must(device.scored(time.monotonic()) is not None, "no scores afterwards")
    row.measured.append(f"status {done.returncode}, {before} goes on")
    (device.machine.folder / f"{name}.txt").write_text(said + "\n")
    return row


def _goes_back(device: Device) -> Row:
    row = Row(PART, "passes its self-test and scores nothing on the camera: goes back by itself, and says so over MQTT")
    before, begun = device.bundle, time.monotonic()
    device.machine.run(_install(BLIND))
    row.must(device.bundle == BLIND, "it was not taken up at first")
    told = _event(device, "rolled-back", begun, 300)
    if row.must(told is not None, "no `rolled-back` over MQTT within 300 s") and told is not None:
        row.measured += [f"told {told[0]:.1f} s after the command", f"reason: {told[1].get('reason')}"]
    row.must(device.bundle == before, f"{device.bundle} is current, not {before}")
    score = device.scored(time.monotonic())
    row.must(score is not None, "no scores afterwards")
    return row


def _rolled_back(device: Device) -> Row:
    row = Row(PART, "`whycam bundle rollback`")
    begun = time.monotonic()
    device.machine.run(f"whycam bundle rollback -c {CONFIG_PATH}")
    row.must(device.bundle == GOOD[0], f"{device.bundle} is current")
    told = _event(device, "rolled-back", begun, 60)
    if row.must(told is not None, "not told over MQTT within 60 s") and told is not None:
        row.measured.append(f"told {told[0]:.1f} s after the command")
    row.must(device.scored(time.monotonic()) is not None, "no scores afterwards")
    return row


def _nothing_lost(device: Device) -> Row:
    row = Row(PART, "no alert is lost by any of it")
    counted = device.delivered()
    row.measured.append(counted.told)
    row.problems += counted.problems
    return row
