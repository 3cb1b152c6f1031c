"""whycam on a virtual machine, with its broker and a subscriber on the host."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from tests.chaos.subscriber import Arrival, Subscriber
from tests.machines.machine import HOST, Machine
from tests.machines.rows import Count, accepted_in, count
from tests.runtime.mqtt.broker import Broker

NAME = "machine"
CONFIG_PATH = "/etc/whycam/whycam.toml"
CLIP_PATH = "/srv/camera/clip.avi"
BUNDLE = "/var/lib/whycam/bundles/colours/current"
BUNDLES_TOPIC = f"/{NAME}/bundles"
PATIENCE = 420.0
"""Seconds that a service that starts is waited for: emulation is slow, and other work may run beside it."""
QUIET, FIGHT = (255, 0, 0), (0, 255, 0)
CLIP = ((QUIET, 30), (FIGHT, 30), (QUIET, 30))
"""What the camera shows, again and again: colours, and frames at 10 per second."""


def config(port: int) -> str:
    """The device's whycam.toml, for a broker of the host."""
    return f"""\
device = "{NAME}"

[broker]
host = "{HOST}"
port = {port}
score_seconds = 0.5
telemetry_seconds = 5

[bundles]
trust_directory = "/etc/whycam/trusted-keys"
grace_seconds = 60

[[camera]]
name = "gate"
source = "{CLIP_PATH}"
repeat = true
bundle = "{BUNDLE}"
# Plain colours: neither frozen nor black here.
frozen_seconds = 0
black_seconds = 0

[camera.alert]
minimum_seconds = 0.3
merge_seconds = 1
cool_down_seconds = 1
update_seconds = 1
signal_lost_seconds = 300
"""


def write_clip(path: Path) -> None:
    """The camera's video, as the device decodes it."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for colour, frames in CLIP:
        for _ in range(frames):
            writer.write(np.full((48, 64, 3), colour, np.uint8))
    writer.release()


class Device:
    """A machine with whycam on it; broker and subscriber live as long as the `with` block."""

    def __init__(self, machine: Machine) -> None:
        """The broker's files are in the machine's folder."""
        self.machine = machine
        self.broker = Broker(machine.folder / "broker")
        self._opened = ExitStack()

    def __enter__(self) -> Device:
        with self._opened as opened:
            opened.enter_context(self.machine)
            opened.enter_context(self.broker)
            self.subscriber = Subscriber("127.0.0.1", self.broker.port)
            opened.callback(self.subscriber.stop)
            self.subscriber.start()
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End machine, subscriber and broker."""
        self._opened.close()

    # -- the machine --

    def start(self) -> float:
        """Switch it on with the cargo mounted; returns the seconds until it takes commands."""
        seconds = self.machine.start()
        self.machine.run("mountpoint -q /mnt || mount -o ro /dev/vdb /mnt")
        return seconds

    def works(self, since: float) -> tuple[float | None, list[str]]:
        """Seconds from `since` to its first score, and what is wrong with a machine that has booted."""
        first = self.scored(since)
        problems = [] if first is not None else [f"no score: {self.machine.text('systemctl status whycam; true')}"]
        if failed := self.machine.text("systemctl --failed --plain --no-legend"):
            problems.append(f"failed units: {failed}")
        if broken := self.machine.text("dmesg | grep -i 'ext4-fs.*error' || true"):
            problems.append(f"the file system: {broken}")
        return first, problems

    @property
    def release(self) -> str:
        """The installed release that is in use."""
        return self.machine.text("basename $(readlink -f /opt/whycam/current)")

    @property
    def bundle(self) -> str:
        """The version of the bundle that is current, as its manifest says."""
        return str(json.loads(self.machine.text(f"cat {BUNDLE}/manifest.json"))["version"])

    def main_pid(self) -> int:
        """Of the service; 0 where it does not run."""
        return int(self.machine.text("systemctl show --property=MainPID --value whycam"))

    # -- what it publishes --

    def seen(self, found: Callable[[Arrival], bool], since: float, seconds: float = PATIENCE) -> float | None:
        """Seconds from `since` (monotonic) to the first message that came after it and for which `found`."""
        left = max(since + seconds - time.monotonic(), 0)
        arrival = self.subscriber.wait_for(lambda one: one.arrived >= since and found(one), left)
        return None if arrival is None else arrival.arrived - since

    def scored(self, since: float, seconds: float = PATIENCE) -> float | None:
        """Seconds from `since` to the first score that was made after it."""
        made = time.time() - (time.monotonic() - since)

        def fresh(one: Arrival) -> bool:
            return one.kind == "score" and bool(one.body) and one.body["warm"] and one.sent >= made

        return self.seen(fresh, since, seconds)

    def alerted(self, since: float, phase: str = "raised", seconds: float = PATIENCE) -> Arrival | None:
        """The first alert message of `phase` that came after `since`."""
        left = max(since + seconds - time.monotonic(), 0)
        return self.subscriber.wait_for(
            lambda one: one.arrived >= since and one.kind == "alert" and one.body.get("phase") == phase, left
        )

    # -- what must not be lost --

    def evidence(self) -> list[str]:
        """The ids of the alerts that the device keeps evidence of."""
        # What goes while find looks, as a folder that is being completed does, makes it end with status 1.
        found = "find /var/lib/whycam/evidence -name alert.json -printf '%h\n' 2>/dev/null; true"
        names = (line.rpartition("/")[2] for line in self.machine.text(found).splitlines())
        return [name for name in names if re.fullmatch(r"[0-9a-f-]{36}", name)]

    def delivered(self, seconds: float = 60) -> Count:
        """How its alerts fared, once all that it accepted so far had `seconds` to arrive."""
        accepted, evidence = accepted_in(self.machine.journal()), self.evidence()
        deadline = time.monotonic() + seconds
        while True:
            counted = count(accepted, evidence, self.subscriber.since(0))
            if not counted.lost or time.monotonic() >= deadline:
                return counted
            time.sleep(0.5)
