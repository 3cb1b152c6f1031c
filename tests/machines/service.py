"""The service on a machine: starts with it, alerts, and comes back when it dies or hangs."""

from __future__ import annotations

import re
import time

from tests.machines.device import Device
from tests.machines.kit_rows import SECONDS as INSTALL_SECONDS
from tests.machines.kit_rows import state_of
from tests.machines.rows import Row, spread
from tests.machines.stage import Stage

PART = "service"
EXPOSURE = 2.0
"""What `systemd-analyze security` may say of the unit."""
KILLS = 3


def run(stage: Stage) -> list[Row]:
    with stage.device() as device:
        stage.tell("boots")
        rows = _start_on_boot(device)
        stage.tell("hardening")
        rows.append(_hardening(device))
        stage.tell("SIGKILL")
        rows.append(_killed(device, stage))
        stage.tell("SIGSTOP")
        rows.append(_hung(device))
        stage.tell("a kit whose service does not come up")
        rows.append(_broken(device))
        stage.tell("shuts down")
        rows.append(_nothing_lost(device))
        rows.append(_shut_down(device))
    return rows


def _start_on_boot(device: Device) -> list[Row]:
    begun = time.monotonic()
    booted = device.start()
    row = Row(PART, "starts with the machine", measured=[f"commands {booted:.1f} s after the power button"])
    score, problems = device.works(begun)
    row.problems += problems
    row.measured.append("no score" if score is None else f"first score {score:.1f} s after it")
    received = Row(PART, "an alert and its heat map reach a subscriber on the host")
    alert = device.alerted(begun)
    if received.must(alert is not None, "no alert arrived") and alert is not None:
        received.measured.append(f"first alert {alert.arrived - begun:.1f} s after the power button")
        topic = f"/alert/{alert.body['id']}/heatmap"
        picture = device.seen(lambda one: one.topic.endswith(topic), alert.arrived, 60)
        if received.must(picture is not None, "no heat map followed"):
            received.measured.append(f"its heat map {picture:.1f} s after it")
    return [row, received]


def _hardening(device: Device) -> Row:
    row = Row(PART, f"`systemd-analyze security whycam`: exposure at most {EXPOSURE}")
    said = device.machine.text("systemd-analyze security --no-pager whycam")
    (device.machine.folder / "security.txt").write_text(said + "\n")
    found = re.search(r"exposure level for whycam\.service: ([\d.]+)", said)
    if row.must(found, "systemd-analyze names no exposure") and found is not None:
        row.measured.append(found[1])
        row.must(float(found[1]) <= EXPOSURE, f"{found[1]} is more than {EXPOSURE}")
    user = device.machine.text("ps -o user= -p $(systemctl show --property=MainPID --value whycam)")
    row.must(user == "whycam", f"it runs as {user}")
    return row


def _killed(device: Device, stage: Stage) -> Row:
    row = Row(PART, "killed (SIGKILL): systemd starts it again", KILLS)
    back = []
    for _ in range(KILLS):
        time.sleep(stage.random.uniform(0, 3))
        pid = device.main_pid()
        begun = time.monotonic()
        device.machine.run("systemctl kill --signal=KILL --kill-who=main whycam")
        score = device.scored(begun + 0.5)
        if row.must(score is not None, "no score after a kill") and score is not None:
            back.append(score + 0.5)
        row.must(device.main_pid() not in (0, pid), "the same process, or none")
    row.measured.append(f"scores again after {spread(back)}")
    return row


def _hung(device: Device) -> Row:
    row = Row(PART, "hung (SIGSTOP): the watchdog ends it, systemd starts it again")
    pid = device.main_pid()
    start = len(device.machine.journal())
    device.machine.run(f"kill -STOP {pid}")
    begun = time.monotonic()
    noticed = device.machine.wait_for(lambda entry: "Watchdog timeout" in str(entry.get("MESSAGE")), 90, start)
    if row.must(noticed is not None, "no watchdog timeout within 90 s"):
        row.measured.append(f"noticed after {time.monotonic() - begun:.1f} s")
    score = device.scored(begun + 1)
    if row.must(score is not None, "no score after the watchdog") and score is not None:
        row.measured.append(f"scores again after {score + 1:.1f} s")
    row.must(device.main_pid() not in (0, pid), "the same process, or none")
    return row


def _broken(device: Device) -> Row:
    row = Row(PART, "`install.sh` of a kit whose service does not come up: status 1, the release before runs again")
    before, state = device.release, state_of(device)
    begun = time.monotonic()
    done = device.machine.run("/mnt/broken/install.sh", seconds=INSTALL_SECONDS, check=False)
    row.measured.append(f"{time.monotonic() - begun:.0f} s")
    said = (done.stderr + done.stdout).decode(errors="replace")
    row.must(done.returncode == 1, f"status {done.returncode}: {said}")
    row.must(device.release == before, f"{device.release} is in use")
    row.must(device.scored(time.monotonic()) is not None, "no scores afterwards")
    row.must(state_of(device) == state, "configuration, keys or bundle changed")
    return row


def _nothing_lost(device: Device) -> Row:
    row = Row(PART, "no alert is lost by kills and hangs")
    counted = device.delivered()
    row.measured.append(counted.told)
    row.problems += counted.problems
    return row


def _shut_down(device: Device) -> Row:
    row = Row(PART, "shuts down in order")
    try:
        row.measured.append(f"off after {device.machine.shut_down():.1f} s")
    except RuntimeError as error:
        row.problems.append(str(error))
    return row
