"""The power is cut: while alerts are raised, while a bundle is installed, while whycam is upgraded."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from tests.machines.bundles import GOOD
from tests.machines.device import CONFIG_PATH, PATIENCE, Device
from tests.machines.rows import Row, accepted_in, spread
from tests.machines.stage import Stage

PART = "power cut"
ALERT_CUTS, BUNDLE_CUTS, UPGRADE_CUTS = 10, 5, 5
_INSTALL_SECONDS = 1800


def alerts(stage: Stage) -> list[Row]:
    """Cut around the moment in which the device says that it has accepted an alert, or that one goes on or ends."""
    row = Row(PART, "while alerts are raised, updated, cleared")

    def provoke(device: Device, turn: int) -> None:
        known = len(accepted_in(device.machine.journal()))
        phase = ("raised", "raised", "updated", "cleared")[turn % 4]
        deadline = time.monotonic() + PATIENCE
        while not any(one.phase == phase for one in accepted_in(device.machine.journal())[known:]):
            if time.monotonic() >= deadline:
                raise RuntimeError(f"nothing {phase} in {PATIENCE:g} s")
            time.sleep(0.05)
        # Held for its reasons, on its way, or acknowledged.
        time.sleep(stage.random.choice((0, 0.2, 0.7, 1.8)))

    return _cut(stage, row, range(ALERT_CUTS), provoke)


def bundles(stage: Stage) -> list[Row]:
    """Cut within `whycam bundle install`."""
    row = Row(PART, "within `whycam bundle install`")
    took: list[float] = []
    left: list[str] = []

    def provoke(device: Device, turn: int) -> None:
        if not took:
            begun = time.monotonic()
            device.machine.run(_bundle_install(GOOD[1]))
            took.append(time.monotonic() - begun)
        old, new = device.bundle, GOOD[turn % 3]
        left.append(f"{old}|{new}")
        installing = device.machine.begin(_bundle_install(new))
        # From its start to a little after its end.
        time.sleep(stage.random.uniform(turn, turn + 1) / BUNDLE_CUTS * took[0] * 1.1)
        _forget(installing)

    def check(device: Device, _: int) -> None:
        now = device.bundle
        row.must(now in left[-1].split("|"), f"after a cut, {now} is current, neither of {left[-1]}")

    def end(device: Device) -> None:
        device.machine.run(_bundle_install(GOOD[0]))
        row.must(device.bundle == GOOD[0], "the last installation did not switch")
        row.measured.append(f"one uninterrupted takes {took[0]:.1f} s")

    return _cut(stage, row, range(BUNDLE_CUTS), provoke, check, end)


def upgrade(stage: Stage) -> list[Row]:
    """Cut within `install.sh` of a later version: three times in the new release's making, twice about the switch."""
    row = Row(PART, "within `install.sh` of a later version")
    known: list[str] = []

    def provoke(device: Device, turn: int) -> None:
        if not known:
            known.append(device.release)
        # About the switch: to the new one, and back to the old.
        kit = "kit" if turn == UPGRADE_CUTS - 1 and device.release != known[0] else "next"
        installing = device.machine.begin(f"/mnt/{kit}/install.sh")
        if turn < 3:
            _await(installing, "building")
            time.sleep(stage.random.uniform(2 + 15 * turn, 15 + 15 * turn))
        else:
            _await(installing, "restarting the service")
            time.sleep(stage.random.uniform(0, 3))
        _forget(installing)

    def check(device: Device, _: int) -> None:
        now = device.release
        if now not in known:
            known.append(now)
        row.must(len(known) <= 2, f"releases: {known}")
        row.must(device.machine.text(f"test -e /opt/whycam/releases/{now}/.complete && echo yes"), f"{now}: a half one")
        row.must(device.machine.text("whycam --version"), "whycam --version says nothing")

    def end(device: Device) -> None:
        begun = time.monotonic()
        device.machine.run("/mnt/next/install.sh", seconds=_INSTALL_SECONDS)
        row.measured.append(f"the last `install.sh` completes in {time.monotonic() - begun:.0f} s")
        row.must(device.release != known[0], "the last install.sh did not switch")

    return _cut(stage, row, range(UPGRADE_CUTS), provoke, check, end)


def _cut(
    stage: Stage,
    row: Row,
    turns: Sequence[int],
    provoke: Callable[[Device, int], None],
    check: Callable[[Device, int], None] = lambda *_: None,
    end: Callable[[Device], None] = lambda _: None,
) -> list[Row]:
    """Boot; provoke, cut and boot, for each of `turns`; then judge what arrived."""
    back = []
    if stage.quick:
        turns = (turns[0], turns[-2])
    row.times = len(turns)
    with stage.device() as device:
        stage.tell("boots")
        device.start()
        device.works(time.monotonic())
        for number, turn in enumerate(turns, 1):
            stage.tell(f"cut {number} of {len(turns)}")
            provoke(device, turn)
            device.machine.cut_power()
            begun = time.monotonic()
            device.start()
            first, problems = device.works(begun)
            row.problems += [f"after cut {number}: {problem}" for problem in problems]
            if first is not None:
                back.append(first)
            check(device, turn)
        end(device)
        stage.tell("counts")
        counted = device.delivered()
        device.machine.shut_down()
    row.measured = [counted.told, f"scores again {spread(back)} after the power", *row.measured]
    row.problems += counted.problems
    return [row]


def _bundle_install(name: str) -> str:
    return f"whycam bundle install /mnt/bundles/{name}.whycam.tar -c {CONFIG_PATH}"


def _await(process: subprocess.Popen[bytes], word: str) -> None:
    """Read what a command on the machine prints until a line holds `word`, or it has ended well."""
    assert process.stdout is not None
    timer = threading.Timer(_INSTALL_SECONDS, process.kill)
    timer.start()
    said = []
    for line in process.stdout:
        said.append(line.decode(errors="replace"))
        if word in said[-1]:
            timer.cancel()
            return
    timer.cancel()
    if process.wait() != 0:
        raise RuntimeError(f"status {process.returncode}, no '{word}' in: {''.join(said)[-1000:]}")


def _forget(process: subprocess.Popen[bytes]) -> None:
    """Let a command on the machine be; the machine does not hear of it."""
    threading.Thread(target=process.communicate, daemon=True).start()
