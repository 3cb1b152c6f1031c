"""What the service tells Prometheus, and whether it is healthy: HTTP on a loopback port."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from whycam.alerts.outbox import OutboxStats
from whycam.config.models import Metrics as MetricsConfig
from whycam.endpoint import Endpoint, Health

STATES = ("connecting", "running", "stalled", "cold", "failed")
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(frozen=True)
class ShadowFigures:
    """How a candidate compares, since it was loaded."""

    frames: Mapping[str, int]
    """By outcome: compared, agreed, skipped, failed."""
    episodes: Mapping[str, int]
    """By who has raised them: both, live, candidate."""
    difference: float
    """Mean over the frames compared."""


@dataclass(frozen=True)
class CameraFigures:
    """A camera's figures, as they are now."""

    state: str
    fps: float
    captured: int
    dropped: int
    scored: int
    reconnects: int
    abandoned: int
    failures: int
    drift: tuple[float, bool | None] | None = None
    """How far the last block was from what is usual, and whether that is drift, if that is known; None: not watched,
    or no block yet."""
    shadow: ShadowFigures | None = None
    providers: Mapping[str, float] = field(default_factory=dict)
    """The share of the CNN's time that each of ONNX Runtime's execution providers takes."""


@dataclass(frozen=True)
class QueueFigures:
    """What waits before a stage."""

    depth: int
    capacity: int
    refused: int


@dataclass(frozen=True)
class Figures:
    """What is looked up when somebody asks."""

    cameras: Mapping[str, CameraFigures]
    queues: Mapping[str, QueueFigures]
    outbox: OutboxStats
    bundles: Sequence[tuple[str, str, str, str]]
    """Of each installed bundle name, version, id and state."""
    rollbacks: int
    connected: bool
    uptime_seconds: float


class Metrics:
    """Counts what happens; what is, it asks for when it is read."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self.clock_jumps = 0
        """How often the wall clock was set."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._stages = Histogram(
            "whycam_stage_seconds",
            "Time that a stage of the work takes.",
            ["stage"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._episodes = Counter(
            "whycam_alerts",
            "Alert messages, by phase and class.",
            ["camera", "phase", "label"],
            registry=self._registry,
        )
        self._explanations = Counter(
            "whycam_explanations", "Explanations, by what became of them.", ["outcome"], registry=self._registry
        )
        self._evidence = Counter(
            "whycam_evidence", "Evidence, by what became of it.", ["outcome"], registry=self._registry
        )
        self._jumps = Counter("whycam_clock_jumps", "How often the wall clock was set.", registry=self._registry)
        self._lock = threading.Lock()
        self._since: dict[str, tuple[int, float, float]] = {}
        self._skipped: dict[str, int] = {}

    def stage(self, name: str, seconds: float) -> None:
        """A stage has taken so long."""
        self._stages.labels(name).observe(seconds)
        with self._lock:
            count, total, most = self._since.get(name, (0, 0.0, 0.0))
            self._since[name] = (count + 1, total + seconds, max(most, seconds))

    def stages(self) -> dict[str, tuple[int, float, float]]:
        """By stage, since this was last asked: how often, mean and longest seconds."""
        with self._lock:
            since, self._since = self._since, {}
        return {name: (count, total / count, most) for name, (count, total, most) in since.items()}

    def episode(self, camera: str, phase: str, label: str) -> None:
        """An alert message was accepted."""
        self._episodes.labels(camera, phase, label).inc()

    def explanation(self, outcome: str) -> None:
        """An explanation was in time, late, refused, answered or has failed."""
        self._explanations.labels(outcome).inc()

    def evidence(self, outcome: str) -> None:
        """Evidence was written, or why it was not."""
        self._evidence.labels(outcome).inc()
        if outcome != "written":
            with self._lock:
                self._skipped[outcome] = self._skipped.get(outcome, 0) + 1

    def evidence_skipped(self) -> dict[str, int]:
        """By reason: alerts without evidence."""
        with self._lock:
            return dict(self._skipped)

    def clock_jump(self) -> None:
        """The wall clock was set."""
        self.clock_jumps += 1
        self._jumps.inc()

    def serve(self, settings: MetricsConfig, health: Health, figures: Callable[[], Figures]) -> Endpoint:
        """Serve `/metrics` and `/healthz`; raises InputError where the port is taken."""
        self._registry.register(_Now(figures))
        advice = "another port in [metrics], or 0 for any"
        return Endpoint(settings.host, settings.port, self._registry, health, advice)


class _Now(Collector):
    """Looks up the figures each time it is read."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def describe(self) -> Iterable[Metric]:
        """Nothing: the figures cannot be looked up before the service runs."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The figures as they are now."""
        now = self._figures()
        state = GaugeMetricFamily(
            "whycam_camera_state", "1 for the state that the camera is in.", labels=["camera", "state"]
        )
        for name, camera in now.cameras.items():
            for one in STATES:
                state.add_metric([name, one], float(camera.state == one))
        yield state
        fps = GaugeMetricFamily("whycam_camera_fps", "Frames that the camera gives in a second.", labels=["camera"])
        for name, camera in now.cameras.items():
            fps.add_metric([name], camera.fps)
        yield fps
        for key, text in (
            ("captured", "Frames captured."),
            ("dropped", "Due frames that were replaced by newer ones before being scored."),
            ("scored", "Frames scored."),
            ("reconnects", "How often the source was opened again."),
            ("failures", "Frames that could not be scored."),
            ("abandoned", "Reads that hung and were left to themselves."),
        ):
            family = CounterMetricFamily(f"whycam_camera_{key}", text, labels=["camera"])
            for name, camera in now.cameras.items():
                family.add_metric([name], getattr(camera, key))
            yield family
        yield _providers(now.cameras)
        yield from _drift(now.cameras)
        yield from _shadow(now.cameras)
        depth = GaugeMetricFamily("whycam_queue_depth", "Jobs that wait before a stage.", labels=["stage"])
        refused = CounterMetricFamily("whycam_queue_refused", "Jobs that found no room.", labels=["stage"])
        for name, queue in now.queues.items():
            depth.add_metric([name], queue.depth)
            refused.add_metric([name], queue.refused)
        yield depth
        yield refused
        yield _gauge("whycam_outbox_messages", "Messages that wait for the broker.", now.outbox.rows)
        yield _gauge("whycam_outbox_bytes", "Their size.", now.outbox.bytes)
        yield _gauge("whycam_outbox_oldest_seconds", "Age of the oldest.", now.outbox.oldest_age_seconds or 0.0)
        yield _gauge("whycam_outbox_in_memory", "Those that the disk does not take.", now.outbox.in_memory)
        evicted = CounterMetricFamily("whycam_outbox_evicted", "Messages given up undelivered.", labels=["kind"])
        for kind, count in now.outbox.evicted.items():
            evicted.add_metric([kind], count)
        yield evicted
        bundles = GaugeMetricFamily(
            "whycam_bundle_info", "1 for each installed bundle.", labels=["bundle", "version", "id", "state"]
        )
        for labels in now.bundles:
            bundles.add_metric(labels, 1.0)
        yield bundles
        yield CounterMetricFamily(
            "whycam_bundle_rollbacks", "Bundles on trial that were taken back.", value=now.rollbacks
        )
        yield _gauge("whycam_mqtt_connected", "1 while the broker has let the device in.", float(now.connected))
        yield _gauge("whycam_uptime_seconds", "Since the service began.", now.uptime_seconds)


def _providers(cameras: Mapping[str, CameraFigures]) -> Metric:
    shares = GaugeMetricFamily(
        "whycam_camera_provider",
        "The share of the CNN's time that an execution provider takes, as the session's profile told when it opened.",
        labels=["camera", "provider"],
    )
    for name, camera in cameras.items():
        for provider, share in camera.providers.items():
            shares.add_metric([name, provider], share)
    return shares


def _drift(cameras: Mapping[str, CameraFigures]) -> Iterable[Metric]:
    statistic = GaugeMetricFamily(
        "whycam_camera_drift_statistic",
        "The largest deviation from what is usual, over its limit: above 1 is beyond it.",
        labels=["camera"],
    )
    drifted = GaugeMetricFamily(
        "whycam_camera_drifted", "1 while the camera shows something else than usual.", labels=["camera"]
    )
    for name, camera in cameras.items():
        if camera.drift is not None:
            statistic.add_metric([name], camera.drift[0])
            if camera.drift[1] is not None:
                drifted.add_metric([name], float(camera.drift[1]))
    yield statistic
    yield drifted


def _shadow(cameras: Mapping[str, CameraFigures]) -> Iterable[Metric]:
    frames = CounterMetricFamily(
        "whycam_shadow_frames", "Frames of a camera's candidate, by what became of them.", labels=["camera", "outcome"]
    )
    episodes = CounterMetricFamily(
        "whycam_shadow_episodes", "Episodes, by who has raised them.", labels=["camera", "raised_by"]
    )
    difference = GaugeMetricFamily(
        "whycam_shadow_difference",
        "Mean difference between the scores of a camera's bundle and its candidate.",
        labels=["camera"],
    )
    for name, camera in cameras.items():
        if camera.shadow is not None:
            for outcome, count in camera.shadow.frames.items():
                frames.add_metric([name, outcome], count)
            for side, count in camera.shadow.episodes.items():
                episodes.add_metric([name, side], count)
            difference.add_metric([name], camera.shadow.difference)
    yield frames
    yield episodes
    yield difference


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
