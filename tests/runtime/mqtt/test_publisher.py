"""From the outbox to the broker: in order, until it is acknowledged, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.mqtt.broker import Broker
from tests.runtime.mqtt.collector import Collector, until
from tests.runtime.mqtt.conftest import config_for
from whycam.alerts.outbox import Outbox, Outgoing
from whycam.alerts.outbox_rows import Kind
from whycam.mqtt.client import MqttClient
from whycam.mqtt.message import Message
from whycam.mqtt.publisher import OutboxPublisher


class Sending:
    """An outbox, and what empties it."""

    def __init__(self, outbox: Outbox, client: MqttClient, publisher: OutboxPublisher) -> None:
        self.outbox, self.client, self.publisher = outbox, client, publisher

    def accept(self, camera: str, payload: bytes, topic: str | None = None, kind: Kind = "alert") -> int:
        """A message of `camera`; its row."""
        message = Message(topic or f"whycam/post/{camera}/alert", payload)
        (row,) = self.outbox.accept(camera, [Outgoing(kind, message)])
        return row

    @property
    def waiting(self) -> list[bytes]:
        """What is in the outbox."""
        return [row.message.payload for row in self.outbox.pending(1000)]


@contextmanager
def sending(path: Path, broker: Broker, *, window: int = 8, **settings: Any) -> Iterator[Sending]:
    """A client and a publisher on the outbox in `path`."""
    outbox = Outbox(path, 1 << 24, 86400)
    client = MqttClient(config_for(broker.port, **settings), "post")
    publisher = OutboxPublisher(client, outbox, window=window)
    client.start()
    publisher.start()
    try:
        yield Sending(outbox, client, publisher)
    finally:
        publisher.stop()
        client.stop(1.0)
        outbox.close()


def numbers(count: int) -> list[bytes]:
    """Payloads that tell their order."""
    return [b"%d" % number for number in range(count)]


def test_each_cameras_messages_arrive_in_order_and_leave_the_outbox(
    broker: Broker, tmp_path: Path, protocol: str
) -> None:
    with Collector(broker.port, "whycam/#") as collector, sending(tmp_path / "o.db", broker, protocol=protocol) as made:
        for payload in numbers(60):
            made.accept("gate", payload)
            made.accept("yard", payload)
        for camera in ("gate", "yard"):
            collector.wait_for(f"whycam/post/{camera}/alert", 60)
            assert collector.payloads(f"whycam/post/{camera}/alert") == numbers(60)
        assert made.publisher.drain(30)
        assert made.waiting == []
        assert made.publisher.delivered == 120


def test_a_row_stays_until_the_broker_has_acknowledged_it(broker: Broker, tmp_path: Path) -> None:
    with Collector(broker.port, "whycam/#") as collector, sending(tmp_path / "o.db", broker) as made:
        until(lambda: made.client.is_connected)
        broker.pause()
        made.accept("gate", b"one")
        until(lambda: made.publisher.in_flight == 1)
        assert made.waiting == [b"one"]
        broker.resume()
        collector.wait_for("whycam/post/gate/alert")
        until(lambda: not made.waiting)


def test_what_was_under_way_when_the_broker_died_is_sent_again_in_order(broker: Broker, tmp_path: Path) -> None:
    with sending(tmp_path / "o.db", broker) as made:
        until(lambda: made.client.is_connected)
        broker.pause()
        for payload in numbers(20):
            made.accept("gate", payload)
        until(lambda: made.publisher.in_flight > 0)
        broker.kill()
        broker.start()
        with Collector(broker.port, "whycam/post/+/alert") as collector:
            made.accept("gate", b"last")
            until(lambda: b"last" in collector.payloads("whycam/post/gate/alert"))
            got = collector.payloads("whycam/post/gate/alert")
        # Some may have come before the collector did; of those that came, none is out of order.
        assert list(dict.fromkeys(got)) == sorted(set(got), key=lambda one: 99 if one == b"last" else int(one))
        until(lambda: not made.waiting)


def test_an_outbox_filled_before_is_sent_and_a_broker_that_is_away_is_waited_for(
    broker: Broker, tmp_path: Path
) -> None:
    broker.stop()
    with sending(tmp_path / "o.db", broker) as made:
        for payload in numbers(10):
            made.accept("gate", payload)
        until(lambda: made.client.problem)
    broker.start()
    with Collector(broker.port, "whycam/#") as collector, sending(tmp_path / "o.db", broker) as made:
        collector.wait_for("whycam/post/gate/alert", 10)
        assert collector.payloads("whycam/post/gate/alert") == numbers(10)
        until(lambda: not made.waiting)


def test_no_more_than_the_window_is_under_way(broker: Broker, tmp_path: Path) -> None:
    with sending(tmp_path / "o.db", broker, window=3) as made:
        until(lambda: made.client.is_connected)
        broker.pause()
        for payload in numbers(10):
            made.accept("gate", payload)
        most = 0
        for _ in range(50):
            most = max(most, made.publisher.in_flight)
            made.outbox.wait(0.01)
        assert most <= 3
        broker.resume()
        until(lambda: not made.waiting)


def test_a_broker_that_takes_few_at_once_gets_few_at_once(start_broker: Callable[..., Broker], tmp_path: Path) -> None:
    broker = start_broker(settings=["max_inflight_messages 1"])
    with Collector(broker.port, "whycam/#") as collector, sending(tmp_path / "o.db", broker) as made:
        for payload in numbers(30):
            made.accept("gate", payload)
        collector.wait_for("whycam/post/gate/alert", 30)
        assert list(dict.fromkeys(collector.payloads("whycam/post/gate/alert"))) == numbers(30)
        until(lambda: not made.waiting)


ACL = "user post\ntopic write whycam/post/yard/#\ntopic write whycam/post/+/state\nuser reader\ntopic read whycam/#\n"


def test_a_camera_that_may_not_publish_holds_up_no_other_and_is_kept(
    start_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    broker = start_broker(passwords={"post": "p", "reader": "r"}, acl=ACL)
    secret = tmp_path / "password"
    secret.write_text("p")
    with (
        Collector(broker.port, "whycam/#", user="reader", password="r") as collector,
        sending(tmp_path / "o.db", broker, username="post", password_file=secret) as made,
    ):
        for payload in numbers(5):
            made.accept("gate", payload)
            made.accept("yard", payload)
        collector.wait_for("whycam/post/yard/alert", 5)
        until(lambda: made.publisher.refused)
        until(lambda: made.waiting == numbers(5))
        assert collector.payloads("whycam/post/gate/alert") == []


def test_a_heat_map_that_is_too_large_holds_up_nothing(start_broker: Callable[..., Broker], tmp_path: Path) -> None:
    broker = start_broker(settings=["max_packet_size 20000"])
    with Collector(broker.port, "whycam/#") as collector, sending(tmp_path / "o.db", broker) as made:
        made.accept("gate", b"raised")
        made.accept("gate", b"x" * 50_000, "whycam/post/gate/alert/1/heatmap", "heatmap")
        made.accept("gate", b"cleared")
        collector.wait_for("whycam/post/gate/alert", 2)
        assert collector.payloads("whycam/post/gate/alert") == [b"raised", b"cleared"]
        until(lambda: made.waiting == [b"x" * 50_000])


def test_stopping_drains_first(broker: Broker, tmp_path: Path) -> None:
    with Collector(broker.port, "whycam/#") as collector, sending(tmp_path / "o.db", broker) as made:
        until(lambda: made.client.is_connected)
        for payload in numbers(40):
            made.accept("gate", payload)
        assert made.publisher.stop(30)
        assert made.waiting == []
        collector.wait_for("whycam/post/gate/alert", 40)


def test_a_held_message_waits_and_the_rest_of_its_camera_behind_it(broker: Broker, tmp_path: Path) -> None:
    with Collector(broker.port, "whycam/#") as collector, sending(tmp_path / "o.db", broker) as made:
        until(lambda: made.client.is_connected)
        gate = "whycam/post/gate/alert"
        (held,) = made.outbox.accept("gate", [Outgoing("alert", Message(gate, b"raised"))], hold_seconds=60)
        made.accept("gate", b"updated")
        made.accept("yard", b"raised")
        collector.wait_for("whycam/post/yard/alert")
        assert collector.payloads(gate) == []
        assert made.outbox.amend(held, Outgoing("alert", Message(gate, b"raised, and why")))
        collector.wait_for(gate, 2)
        assert collector.payloads(gate) == [b"raised, and why", b"updated"]


def test_a_fault_of_the_outbox_does_not_end_the_sending(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Collector(broker.port, "whycam/#") as collector, sending(tmp_path / "o.db", broker) as made:
        until(lambda: made.client.is_connected)
        faults = []

        def broken(*_: object) -> list[object]:
            faults.append(1)
            raise OSError("no")

        monkeypatch.setattr(made.outbox, "pending", broken)
        made.accept("gate", b"one")
        until(lambda: faults)
        monkeypatch.undo()
        collector.wait_for("whycam/post/gate/alert")
        until(lambda: not made.waiting)
