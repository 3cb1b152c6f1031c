"""The connection: comes back by itself after whatever happens to the broker, and says why it was gone."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runtime.mqtt.broker import Broker
from tests.runtime.mqtt.collector import Collector, properties_of, until
from tests.runtime.mqtt.connecting import connection
from tests.runtime.mqtt.proxy import Proxy
from whycam.mqtt.connection import TOO_LARGE
from whycam.mqtt.message import Message


def test_a_message_arrives_with_all_that_mqtt_5_carries(broker: Broker) -> None:
    settled: list[int | None] = []
    message = Message(
        "a/b",
        b"{}",
        expiry_seconds=60,
        user_properties=(("id", "1"), ("type", "t")),
        correlation_data=b"\x00\x01",
    )
    with Collector(broker.port, "a/b") as collector, connection(broker.port) as (link, _):
        until(lambda: link.publish(message, settled.append))
        (got,) = collector.wait_for("a/b")
        until(lambda: settled)
    assert got.payload == b"{}"
    assert properties_of(got) == {"id": "1", "type": "t"}
    assert got.properties.ContentType == "application/json"
    assert got.properties.CorrelationData == b"\x00\x01"
    assert 0 < got.properties.MessageExpiryInterval <= 60
    assert settled == [0]


def test_mqtt_3_1_1_carries_the_payload_alone(broker: Broker) -> None:
    settled: list[int | None] = []
    message = Message("a/b", b"{}", expiry_seconds=60, user_properties=(("id", "1"),))
    with Collector(broker.port, "a/b") as collector, connection(broker.port, protocol="3.1.1") as (link, _):
        until(lambda: link.publish(message, settled.append))
        collector.wait_for("a/b")
        until(lambda: settled)
    assert settled == [0]
    assert "MQTT" not in broker.log or "(p2," in broker.log


def test_it_waits_for_a_broker_that_is_not_there_yet(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    broker.stop()
    with caplog.at_level(logging.INFO), connection(broker.port) as (link, record):
        until(lambda: link.problem)
        assert not link.publish(Message("a", b""))
        broker.start()
        until(lambda: link.is_up)
        assert link.problem is None
    told = [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert told == [f"mqtt://127.0.0.1:{broker.port}: connection refused; trying again"]
    assert record.connections == [False]


def test_it_comes_back_after_the_broker_was_killed(broker: Broker) -> None:
    with connection(broker.port) as (link, record):
        for times in (1, 2):
            until(lambda: link.is_up)
            broker.kill()
            until(lambda times=times: len(record.ends) == times)
            assert not link.is_up
            broker.start()
        until(lambda: link.is_up)
        assert link.connects == 3


def test_a_frozen_broker_is_noticed_by_keepalive_and_used_again_when_it_goes_on(broker: Broker) -> None:
    settled: list[int | None] = []
    with connection(broker.port) as (link, record):
        until(lambda: link.is_up)
        broker.pause()
        link.publish(Message("a", b"1"), settled.append)
        until(lambda: record.ends)
        assert "no answer" in record.ends[0]
        assert settled == [None]
        broker.resume()
        until(lambda: link.is_up)
        until(lambda: link.publish(Message("a", b"2"), settled.append))
        until(lambda: len(settled) == 2)
        assert settled[1] is not None


def test_a_broker_that_accepts_but_never_answers_is_given_up_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("connection", "session"):
        monkeypatch.setattr(f"whycam.mqtt.{module}.CONNACK_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as mute, connection(mute.getsockname()[1]) as (link, _):
        assert "does not answer" in until(lambda: link.problem)


def test_nonsense_instead_of_mqtt_ends_the_attempt_not_the_thread(broker: Broker) -> None:
    broker.stop()
    with (
        socket.create_server(("127.0.0.1", broker.port), reuse_port=False) as liar,
        connection(broker.port) as (link, _),
    ):
        for nonsense in (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            bytes(range(256)),
            b"\x20\x7f" + b"\xff" * 127,
            b"\x30\xff",
        ):
            client, _address = liar.accept()
            client.recv(1024)
            client.sendall(nonsense)
            client.close()
        liar.close()
        broker.start()
        until(lambda: link.is_up)


def test_a_connection_cut_in_the_middle_of_a_packet_settles_it_as_lost(broker: Broker) -> None:
    settled: list[int | None] = []
    with Proxy(broker.port) as proxy, connection(proxy.port) as (link, record):
        until(lambda: link.is_up)
        proxy.cut_after(1000)
        link.publish(Message("a", bytes(5000)), settled.append)
        until(lambda: settled)
        assert settled == [None]
        until(lambda: link.connects == 2)
        assert len(record.ends) == 1


def test_every_message_is_settled_exactly_once_over_many_cuts(broker: Broker) -> None:
    settled: dict[int, list[int | None]] = {}
    taken = 0
    with Proxy(broker.port) as proxy, connection(proxy.port) as (link, _):
        for cut in range(6):
            until(lambda: link.is_up)
            if cut:
                proxy.cut_after(3000)
            for number in range(cut * 20, cut * 20 + 20):
                outcomes: list[int | None] = []
                if link.publish(Message("a", bytes(300)), outcomes.append):
                    settled[number] = outcomes
                    taken += 1
        until(lambda: all(settled.values()))
    assert all(len(outcomes) == 1 for outcomes in settled.values())
    assert any(outcomes == [None] for outcomes in settled.values())
    assert taken == len(settled)


def test_what_is_larger_than_the_broker_takes_is_refused_here(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker(settings=["max_packet_size 2000"])
    settled: list[int | None] = []
    with connection(broker.port) as (link, record):
        until(lambda: link.is_up)
        assert link.publish(Message("a", bytes(5000)), settled.append)
        assert settled == [TOO_LARGE]
        link.publish(Message("a", bytes(500)), settled.append)
        until(lambda: len(settled) == 2)
        assert not record.ends


def test_no_more_is_under_way_than_the_broker_allows(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker(settings=["max_inflight_messages 2"])
    settled: list[int | None] = []
    with Collector(broker.port, "a") as collector, connection(broker.port) as (link, record):
        until(lambda: link.is_up)
        for number in range(100):
            assert link.publish(Message("a", b"%d" % number), settled.append)
        until(lambda: len(settled) == 100)
        assert collector.payloads("a") == [b"%d" % number for number in range(100)]
        assert not record.ends


def test_the_will_is_published_when_it_dies_and_not_when_it_says_goodbye(broker: Broker) -> None:
    will, bye = Message("w", b"died", retain=True), Message("w", b"bye", retain=True)
    with Collector(broker.port, "w") as collector, Proxy(broker.port) as proxy:
        with connection(proxy.port, will=will) as (link, _):
            until(lambda: link.is_up)
            proxy.cut()
            collector.wait_for("w")
            until(lambda: link.connects == 2)
            link.stop(5, bye)
        collector.wait_for("w", 2)
        assert collector.payloads("w") == [b"died", b"bye"]


def test_stopping_beside_a_frozen_broker_leaves_the_last_word_to_the_will(broker: Broker) -> None:
    with Collector(broker.port, "w") as collector, connection(broker.port, will=Message("w", b"died")) as (link, _):
        until(lambda: link.is_up)
        broker.pause()
        link.stop(0.5, Message("w", b"bye"))
        assert not link.is_up
        broker.resume()
        assert b"died" in [message.payload for message in collector.wait_for("w")] + collector.payloads("w")


def test_a_session_is_kept_and_what_was_not_acknowledged_comes_again(broker: Broker, protocol: str) -> None:
    options = {"session_seconds": 3600, "manual_acknowledgement": True, "protocol": protocol}
    with Collector(broker.port) as sender:
        with connection(broker.port, "watch", **options) as (link, record):
            until(lambda: link.is_up)
            link.subscribe([("a", 1)])
            until(lambda: "watch 1 a" in broker.log)
            sender.publish("a", b"1")
            sender.publish("a", b"2")
            until(lambda: len(record.messages) == 2)
            link.acknowledge(record.messages[0])
            until(lambda: "Received PUBACK from watch" in broker.log)
        sender.publish("a", b"3")
        with connection(broker.port, "watch", **options) as (link, record):
            until(lambda: len(record.messages) == 2)
            assert record.connections == [True]
            assert [message.payload for message in record.messages] == [b"2", b"3"]


def test_many_reconnections_leave_no_open_files(broker: Broker) -> None:
    with connection(broker.port) as (link, _):
        until(lambda: link.is_up)
        before = len(list(Path("/proc/self/fd").iterdir()))
        for times in range(2, 5):
            link.drop("test")
            until(lambda times=times: link.connects == times)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_publishing_from_many_threads_loses_nothing(broker: Broker) -> None:
    settled: list[int | None] = []
    with Collector(broker.port, "a/#") as collector, connection(broker.port) as (link, _):
        until(lambda: link.is_up)

        def publish(name: int) -> None:
            for number in range(50):
                assert link.publish(Message(f"a/{name}", b"%d" % number), settled.append)

        threads = [threading.Thread(target=publish, args=(name,)) for name in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: len(settled) == 300)
        for name in range(6):
            until(lambda name=name: len(collector.on(f"a/{name}")) == 50)
            assert collector.payloads(f"a/{name}") == [b"%d" % number for number in range(50)]
