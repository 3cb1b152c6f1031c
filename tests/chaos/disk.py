"""What befalls the disk that the state is on."""

from __future__ import annotations

import signal
import time

from tests.chaos.faults import Stage, fault
from tests.chaos.small_disk import abort, can_loop, can_mount, ext4, fill, mend, tmpfs

PART = "disk"
SMALL = {"evidence.min_free_bytes": 0, "evidence.max_bytes": 64 << 20}
"""Evidence may take the last byte."""


@fault(PART, "full, while evidence and outbox are written", times=3, quick=1, needs=can_mount)
def full(stage: Stage, times: int) -> None:
    state = stage.directory / "stack" / "state"
    with tmpfs(state, "24m"), stage.stack(config=SMALL) as stack:
        for turn in range(times):
            with stack.anomaly("fight"):
                stack.quiet(stack.random.uniform(0, 1))
                filler = fill(state, leave=(0, 8192, 100_000)[turn % 3])
                stack.injected()
                stack.wait_seen("fight")
            stack.settle()
            # Here the broker does not take them at once: they must wait on the full disk.
            stack.broker.stop()
            stack.play("fire", 3)
            stack.quiet(3)
            stack.play("fight", 3)
            stack.broker.start()
            stack.subscriber.subscribed()
            stack.settle()
            with stack.anomaly("fire"):
                stack.quiet(1)
                filler.unlink()
                stack.recover()
            stack.settle()


@fault(PART, "full, broker away, service killed", times=3, needs=can_mount)
def full_and_killed(stage: Stage, times: int) -> None:
    state = stage.directory / "stack" / "state"
    with tmpfs(state, "24m"), stage.stack(config=SMALL) as stack:
        for _ in range(times):
            filler = fill(state)
            stack.injected()
            stack.broker.stop()
            stack.play("fight", 3)
            stack.quiet(3)
            stack.service.kill()
            killed = time.monotonic()
            if not stack.service.wait_ready():
                stack.row.problems.append("the service does not start on a full disk")
            stack.broker.start()
            stack.recover(max(killed, time.monotonic()))
            stack.settle()
            with stack.anomaly("fire"):
                filler.unlink()
                stack.recover()
            stack.settle()


@fault(PART, "read-only from one moment to the next", times=2, needs=can_loop)
def read_only(stage: Stage, times: int) -> None:
    state, image = stage.directory / "stack" / "state", stage.directory / "disk"
    with ext4(image, state, "32M"), stage.stack(config=SMALL) as stack:
        for _ in range(times):
            with stack.anomaly("fight"):
                stack.quiet(stack.random.uniform(0, 1))
                abort(state)
                stack.injected()
                stack.wait_seen("fight")
            stack.settle()
            stack.play("fire")
            stack.settle()
            # A restart with the disk as it is, then one with the disk mended.
            stack.service.terminate()
            if not stack.service.wait_ready():
                stack.row.problems.append("the service does not start on a read-only disk")
            stack.play("fight")
            stack.settle()
            stack.service.hold()
            stack.service.signal(signal.SIGTERM, deadly=True)
            while stack.service.pid is not None:
                time.sleep(0.05)
            mend(image, state)
            stack.service.release()
            with stack.anomaly("fire"):
                stack.recover()
            stack.settle()


@fault(PART, "SQLite file truncated or overwritten", times=5, quick=0)
def truncated(stage: Stage, times: int) -> None:
    """What was in the file that is destroyed is gone with it; what comes after must arrive, and the log must say so."""
    with stage.stack() as stack:
        for turn in range(times):
            stack.broker.stop()
            first = len(stack.accepted())
            marked = len(stack.anomalies)
            stack.play("fight", 3)
            stack.quiet(3)
            stack.service.hold()
            stack.service.kill()
            written = {line.id for line in stack.accepted()[first:]}
            _damage(stack.state / "outbox.db", turn)
            stack.injected()
            start = len(stack.service.log)
            stack.service.release()
            if not stack.service.wait_ready():
                stack.row.problems.append("the service does not start on a damaged outbox")
            stack.broker.start()
            stack.recover()
            stack.quiet(3)
            arrived = {one.body["id"] for one in stack.alerts()}
            if written <= arrived:
                stack.row.notes.append(f"damage {turn % 5}: recovered")
            else:
                if stack.wait_log("outbox.db: (damaged|is empty)", start, 5) is None:
                    stack.row.problems.append(f"damage {turn % 5}: messages are lost, and no line in the log says so")
                # Gone with the file, so they are not expected; those that were saved still must be told of to the end.
                stack.row.notes.append(f"damage {turn % 5}: set aside")
                del stack.anomalies[marked:]
            stack.destroyed |= written
            with stack.anomaly("fire"):
                stack.recover()
            stack.settle()


def _damage(file, turn: int) -> None:
    wal = file.with_name(f"{file.name}-wal")
    size = file.stat().st_size
    with file.open("r+b") as data:
        match turn % 5:
            case 0:
                data.truncate(size // 2)
                wal.unlink(missing_ok=True)
            case 1:
                data.truncate(100)
            case 2:
                data.truncate(0)
                wal.unlink(missing_ok=True)
            case 3:
                data.write(b"\xff" * 4096)
                wal.unlink(missing_ok=True)
            case 4:
                data.seek(size // 2)
                data.write(b"\x00" * (size // 4))
                if wal.exists():
                    with wal.open("r+b") as log:
                        log.truncate(wal.stat().st_size // 3)
