"""The kit on a bare machine: installed, upgraded under the running service, undone, removed without a trace."""

from __future__ import annotations

import time

from tests.machines.device import CONFIG_PATH, Device, config
from tests.machines.kits import NEXT_VERSION
from tests.machines.prepared import SET_UP
from tests.machines.rows import Row
from tests.machines.stage import Stage
from whycam import __version__

PART = "kit"
SECONDS = 1800
# What a machine makes of itself while it runs, whatever is installed on it.
FILES = (
    "find / -xdev \\( -path /var/log -o -path /tmp -o -path /var/tmp -o -path /root -o -path /mnt"
    " -o -path /var/lib/systemd -o -path /srv \\) -prune -o -print | sort"
)


def run(stage: Stage) -> list[Row]:
    with stage.device(bare=True) as device:
        stage.tell("boots a bare Debian")
        device.start()
        before = device.machine.text(FILES).splitlines()
        users = device.machine.text("getent passwd; getent group")
        stage.tell("install.sh")
        rows = _install(device)
        stage.tell("upgrade")
        rows.append(_upgrade(device))
        stage.tell("install.sh --undo")
        rows.append(_undo(device))
        stage.tell("uninstall.sh")
        rows.append(_uninstall(device, before, users))
        device.machine.shut_down()
    return rows


def _install(device: Device) -> list[Row]:
    machine = device.machine
    row = Row(PART, "`install.sh` on a bare Debian without an index")
    begun = time.monotonic()
    machine.run("/mnt/kit/install.sh", seconds=SECONDS)
    row.measured.append(f"{time.monotonic() - begun:.0f} s")
    begun = time.monotonic()
    machine.run("/mnt/kit/install.sh", seconds=SECONDS)
    row.measured.append(f"again, with nothing to do: {time.monotonic() - begun:.0f} s")

    started = Row(PART, "first bundle, `systemctl enable --now whycam`")
    machine.run(SET_UP)
    # The file that the installer made keeps its owner and its mode.
    machine.run(f"cat > {CONFIG_PATH}", data=config(device.broker.port).encode())
    machine.run(f"whycam bundle install /mnt/bundles/first.whycam.tar -c {CONFIG_PATH}")
    begun = time.monotonic()
    machine.run("systemctl enable --now whycam")
    started.measured.append(f"ready after {time.monotonic() - begun:.1f} s")
    alert = device.alerted(begun)
    if started.must(alert is not None, "no alert") and alert is not None:
        started.measured.append(f"first alert after {alert.arrived - begun:.1f} s")
    return [row, started]


def state_of(device: Device) -> str:
    """Of configuration, keys and bundle, what an upgrade must not change."""
    return device.machine.text(
        f"sha256sum {CONFIG_PATH} /etc/whycam/trusted-keys/* /etc/whycam/broker-password;"
        f"stat -c '%a %U %G' {CONFIG_PATH};"
        "readlink /var/lib/whycam/bundles/colours/current"
    )


def _switched(device: Device, row: Row, command: str, version: str) -> None:
    """Run `command`, which changes the version under the running service, and note what that cost."""
    state, evidence, pid = state_of(device), set(device.evidence()), device.main_pid()
    begun = time.monotonic()
    device.machine.run(command, seconds=SECONDS)
    row.measured.append(f"{time.monotonic() - begun:.0f} s")
    score = device.scored(time.monotonic())
    row.must(score is not None, "no scores afterwards")
    row.must(device.machine.text("whycam --version").endswith(version), device.machine.text("whycam --version"))
    row.must(device.main_pid() not in (0, pid), "the service was not restarted")
    row.must(state_of(device) == state, f"changed: {state} / {state_of(device)}")
    row.must(evidence <= set(device.evidence()), "evidence is gone")
    counted = device.delivered()
    row.measured.append(counted.told)
    row.problems += counted.problems


def _upgrade(device: Device) -> Row:
    row = Row(PART, "upgrade under the running service: configuration, keys, bundle and evidence stay")
    _switched(device, row, "/mnt/next/install.sh", NEXT_VERSION)
    return row


def _undo(device: Device) -> Row:
    row = Row(PART, "`install.sh --undo`: the version before is back")
    _switched(device, row, "/opt/whycam/current/kit/install.sh --undo", __version__)
    return row


def _uninstall(device: Device, before: list[str], users: str) -> Row:
    row = Row(PART, "`uninstall.sh` keeps configuration and state; `--purge` leaves nothing")
    machine = device.machine
    # --purge is for a machine on which whycam is installed: the script that is run is a copy.
    machine.run("cp -r /opt/whycam/current/kit /tmp/kit && /tmp/kit/uninstall.sh")
    row.must(machine.text(f"test -e {CONFIG_PATH} -a -d /var/lib/whycam/evidence && echo kept"), "not kept")
    row.must(machine.text("test ! -e /opt/whycam -a ! -e /usr/local/bin/whycam && echo gone"), "the program is there")
    machine.run("/tmp/kit/uninstall.sh --purge")
    after = machine.text(FILES).splitlines()
    left = sorted(set(after) - set(before))
    row.measured.append(f"{len(left)} files left")
    row.must(not left, f"left: {left[:10]}")
    row.must(not set(before) - set(after), f"taken along: {sorted(set(before) - set(after))[:10]}")
    row.must(machine.text("getent passwd; getent group") == users, "users or groups are left")
    row.must(machine.text("systemctl cat whycam 2>&1 || true").startswith("No files found"), "the unit is left")
    return row
