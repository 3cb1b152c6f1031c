"""A stage of the work: bounded, and not ended by any one job."""

from __future__ import annotations

import threading

import pytest

from tests.runtime.mqtt.collector import until
from whycam.service.worker import Worker


class Gate:
    """Work that waits until it is let through."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.done: list[int] = []

    def __call__(self, job: int) -> None:
        """Do `job`; a negative one fails."""
        self.open.wait(30)
        if job < 0:
            raise ZeroDivisionError
        self.done.append(job)


def test_an_offer_that_finds_no_room_is_refused_and_counted() -> None:
    gate = Gate()
    worker = Worker("stage", gate, 2)
    worker.start()
    assert worker.offer(0)
    until(lambda: worker.waiting == 0)
    assert [worker.offer(job) for job in (1, 2, 3)] == [True, True, False]
    assert (worker.waiting, worker.refused) == (2, 1)
    gate.open.set()
    assert worker.stop(10, finish=True)
    assert gate.done == [0, 1, 2]


def test_putting_waits_for_room_and_loses_nothing() -> None:
    gate = Gate()
    worker = Worker("stage", gate, 2)
    worker.start()
    putting = threading.Thread(target=lambda: [worker.put(job) for job in range(20)])
    putting.start()
    until(lambda: worker.waiting == 2)
    assert putting.is_alive()
    gate.open.set()
    putting.join(10)
    assert worker.idle(10)
    assert gate.done == list(range(20))
    assert worker.stop(10, finish=True)


def test_a_job_that_fails_is_logged_counted_and_outlived(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    gate.open.set()
    worker = Worker("stage", gate, 8)
    worker.start()
    for job in (1, -1, 2):
        worker.put(job)
    assert worker.idle(10)
    assert (gate.done, worker.failed) == ([1, 2], 1)
    assert "stage: a job failed" in caplog.text
    assert worker.stop(10, finish=True)


def test_stopping_without_finishing_leaves_what_waits() -> None:
    gate = Gate()
    worker = Worker("stage", gate, 8)
    worker.start()
    for job in range(5):
        worker.put(job)
    until(lambda: worker.waiting == 4)
    assert not worker.stop(0, finish=False)
    assert not worker.offer(9)
    gate.open.set()
    assert worker.stop(10, finish=False)
    assert gate.done == [0]
