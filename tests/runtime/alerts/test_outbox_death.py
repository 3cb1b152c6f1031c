"""The outbox under SIGKILL, and under many threads: nothing accepted is lost, nothing delivered comes back."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.runtime.alerts.outboxes import box_at, episode, outgoing, texts

WORK = """
import sys
from pathlib import Path
from whycam.alerts.outbox import Outbox, Outgoing
from whycam.mqtt.message import Message

box = Outbox(Path(sys.argv[1]), 1 << 26, 1e6)
number = 0
while True:
    number += 1
    hold = 60 if number % 3 == 0 else 0
    rows = box.accept("gate", [Outgoing("alert", Message("t", b"%d" % number))] * 2, [], hold_seconds=hold)
    print("accepted", *rows, flush=True)
    if hold:
        box.amend(rows[0], Outgoing("alert", Message("t", b"amended")))
        box.release(rows[1])
    if number % 2:
        # Said before it is done: what was killed in between may be there or not.
        print("delivering", rows[0], flush=True)
        box.delivered(rows[0])
        print("delivered", rows[0], flush=True)
"""


def test_what_was_accepted_outlives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    dice = random.Random(3)
    accepted: set[int] = set()
    perhaps: set[int] = set()
    delivered: set[int] = set()
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", WORK, path], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(dice.randrange(1, 40))]
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        # The last line may be cut off.
        for line in lines:
            if line.endswith("\n"):
                word, *rows = line.split()
                {"accepted": accepted, "delivering": perhaps, "delivered": delivered}[word].update(map(int, rows))
        box = box_at(path)
        waiting = [row.id for row in box.pending(100_000)]
        box.close()
        assert waiting == sorted(set(waiting))
        assert accepted - perhaps <= set(waiting)
        assert not delivered & set(waiting)
    assert len(accepted) > 100
    assert not list(tmp_path.glob("*.damaged-*"))


def test_many_threads_lose_and_repeat_nothing(tmp_path: Path) -> None:
    box = box_at(tmp_path / "outbox.db")
    each, cameras = 25, 4
    taken: list[tuple[str, str]] = []

    def offer(camera: str) -> None:
        for number in range(each):
            (row,) = box.accept(camera, [outgoing(str(number))], [episode()], hold_seconds=60 if number % 5 == 0 else 0)
            if number % 5 == 0:
                assert box.amend(row, outgoing(str(number)))

    def take() -> None:
        while len(taken) < each * cameras:
            for row in box.pending(8):
                taken.append((row.camera, row.message.payload.decode()))
                box.delivered(row.id)
            box.wait(0.05)

    threads = [threading.Thread(target=offer, args=(f"camera {number}",)) for number in range(cameras)]
    threads.append(threading.Thread(target=take, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    for number in range(cameras):
        assert [text for camera, text in taken if camera == f"camera {number}"] == [str(one) for one in range(each)]
    assert box.stats().rows == box.stats().bytes == 0
    box.close()
    assert texts(box_at(tmp_path / "outbox.db")) == []
