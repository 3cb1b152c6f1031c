"""`whycam watch --metrics`: what devices say over MQTT, for Prometheus."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, get_args

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from whycam.endpoint import Endpoint
from whycam.errors import InputError
from whycam.watch.families import families
from whycam.watch.fleet import Fleet
from whycam.watch.reading import Event, Kind

log = logging.getLogger(__name__)

_HUNG_SECONDS = 20.0
_ADDRESS = re.compile(r"(?:(?P<host>[^\s:\[\]]+|\[[0-9A-Fa-f:.]+\]):)?(?P<port>[0-9]{1,5})")


def address(text: str) -> tuple[str, int]:
    """The host and port that `[HOST:]PORT` names, the host 127.0.0.1 unless it says otherwise. Raises InputError."""
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        raise InputError(f"--metrics {text}: give [HOST:]PORT, such as 9465 or 0.0.0.0:9465")
    return (found["host"] or "127.0.0.1").strip("[]"), int(found["port"])


class MetricsView(Collector):
    """Takes in what comes, and is read by Prometheus in another thread."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.ignored = 0
        """Messages that no device of ours publishes; told by the watcher."""
        self._fleet = Fleet()
        self._lock = threading.Lock()
        self._messages: Counter[str] = Counter(dict.fromkeys(get_args(Kind), 0))
        self._problem: str | None = "connecting"
        self._alive = time.monotonic()

    def serve(self, host: str, port: int) -> Endpoint:
        """Serve `/metrics` and `/healthz`; raises InputError where the port is taken."""
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(self)
        endpoint = Endpoint(host, port, registry, self.health, "another with --metrics, or 0 for any")
        shown = f"[{host}]" if ":" in host else host
        log.info("metrics at http://%s:%d/metrics", shown, endpoint.port)
        return endpoint

    def show(self, event: Event, saved: str | None) -> None:
        """Take it in."""
        with self._lock:
            self._messages[event.kind] += 1
            self._fleet.take(event)

    def refresh(self, problem: str | None, ignored: int) -> None:
        """Called a few times a second."""
        with self._lock:
            if problem is not None and self._problem is None:
                self._fleet.lose_sight()
            self._problem, self.ignored = problem, ignored
            self._alive = time.monotonic()

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether messages are taken. The broker is told, not judged: a restart of ours would not mend it."""
        with self._lock:
            told = {
                "broker": self._problem or "connected",
                "devices": len(self._fleet.devices),
                "cameras": self._fleet.cameras,
            }
            return time.monotonic() - self._alive < _HUNG_SECONDS, told

    def describe(self) -> Iterable[Metric]:
        """Nothing: the figures are looked up when they are asked for."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The figures as they are now."""
        with self._lock:
            made, beyond = families(self._fleet.devices)
            self._fleet.trim.left_out["series"] += beyond
            return [*made, *self._own()]

    def _own(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "whycam_watch_connected", "1 while the broker has let the subscriber in.", float(self._problem is None)
        )
        yield GaugeMetricFamily("whycam_watch_devices", "Devices that are known.", len(self._fleet.devices))
        yield GaugeMetricFamily("whycam_watch_cameras", "Cameras that are known.", self._fleet.cameras)
        messages = CounterMetricFamily("whycam_watch_messages", "Messages of devices that have come.", labels=["kind"])
        for kind, count in self._messages.items():
            messages.add_metric([kind], count)
        yield messages
        yield CounterMetricFamily(
            "whycam_watch_ignored", "Messages that have come and that no device publishes.", self.ignored
        )
        left_out = CounterMetricFamily(
            "whycam_watch_left_out",
            "Names that were left out for want of room, or as no name is like that.",
            labels=["of"],
        )
        for of, count in self._fleet.trim.left_out.items():
            left_out.add_metric([of], count)
        yield left_out
