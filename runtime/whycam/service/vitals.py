"""How the service is doing, for whoever asks: systemd, Prometheus, a health check, the broker."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import whycam
from whycam.alerts.outbox import Outbox
from whycam.mqtt.payloads import OutboxTelemetry, QueueTelemetry, StageTelemetry, TelemetryPayload
from whycam.service.broker_link import BrokerLink
from whycam.service.compose import Composer
from whycam.service.fleet import Fleet
from whycam.service.host import resident_bytes, temperatures
from whycam.service.installed import InstalledBundles
from whycam.service.metrics import CameraFigures, Figures, Metrics, QueueFigures
from whycam.service.scoring import STUCK_SECONDS, Scoring
from whycam.service.trials import Trials
from whycam.service.worker import Worker


class Vitals:
    """Looks at the parts of a service, from any thread."""

    def __init__(
        self,
        began: float,
        fleet: Fleet,
        scoring: Scoring,
        outbox: Outbox,
        link: BrokerLink,
        workers: Sequence[Worker[Any]],
        composer: Composer,
        metrics: Metrics,
        installed: InstalledBundles,
        trials: Trials,
    ) -> None:
        """Of a service that `began` at that monotonic time, in seconds."""
        self._began = began
        self._fleet = fleet
        self._scoring = scoring
        self._outbox = outbox
        self._link = link
        self._workers = workers
        self._composer = composer
        self._metrics = metrics
        self._installed = installed
        self._trials = trials

    def status(self) -> str:
        """One line, for systemd."""
        counts = Counter(lane.camera.state.state.value for lane in tuple(self._fleet.lanes.values()))
        counts.update({"failed": len(self._fleet.broken)} if self._fleet.broken else {})
        cameras = ", ".join(f"{count} {state}" for state, count in counts.items())
        stats = self._outbox.stats()
        broker = "connected" if self._link.state is None else f"no broker ({self._link.state})"
        trial = ", ".join(self._installed.on_trial)
        told = f"; on trial: {trial}" if trial else ""
        return f"cameras: {cameras}; {broker}; {stats.rows} messages waiting{told}"

    def health(self) -> tuple[bool, dict[str, object]]:
        """Healthy while frames are scored, or none are there to be; the broker and the disk are told, not judged."""
        stuck = self._scoring.stuck_seconds
        stats = self._outbox.stats()
        return stuck < STUCK_SECONDS, {
            "scoring": "alive" if stuck < STUCK_SECONDS else f"nothing finished for {stuck:.0f} s",
            "cameras": {name: lane.camera.state.state.value for name, lane in tuple(self._fleet.lanes.items())}
            | dict.fromkeys(self._fleet.broken, "failed"),
            "broker": self._link.state or "connected",
            "outbox": {"rows": stats.rows, "problem": stats.problem},
        }

    def figures(self) -> Figures:
        """For Prometheus."""
        stats = self._outbox.stats()
        return Figures(
            cameras={
                name: CameraFigures(
                    state=lane.camera.state.state.value,
                    fps=lane.camera.fps,
                    captured=lane.camera.counters.captured,
                    dropped=lane.camera.counters.dropped,
                    scored=lane.scored,
                    reconnects=max(0, lane.camera.counters.opened - 1),
                    abandoned=lane.camera.counters.abandoned,
                    failures=lane.failures,
                    drift=None if lane.drift is None else (lane.drift.statistic, lane.drift.drifted),
                    shadow=None if lane.follower is None else lane.follower.figures(),
                    providers=lane.model.shares,
                )
                for name, lane in tuple(self._fleet.lanes.items())
            }
            | dict.fromkeys(tuple(self._fleet.broken), CameraFigures("failed", 0.0, 0, 0, 0, 0, 0, 0)),
            queues={
                worker.name: QueueFigures(worker.waiting, worker.capacity, worker.refused) for worker in self._workers
            },
            outbox=stats,
            bundles=[
                (one.name, one.record.versions[one.current].version, one.current, one.state_of(one.current))
                for one in self._installed.found
                if one.current in one.record.versions
            ],
            rollbacks=self._trials.rollbacks,
            connected=self._link.state is None,
            uptime_seconds=time.monotonic() - self._began,
        )

    def telemetry(self) -> TelemetryPayload:
        """For the broker."""
        stats = self._outbox.stats()
        stages = self._metrics.stages()
        return TelemetryPayload(
            device=self._composer.device,
            time=self._composer.time(),
            version=whycam.__version__,
            uptime_seconds=round(time.monotonic() - self._began, 1),
            cameras={name: self._composer.camera_telemetry(lane) for name, lane in tuple(self._fleet.lanes.items())},
            stages={
                name: StageTelemetry(count=count, mean_ms=round(mean * 1000, 3), max_ms=round(most * 1000, 3))
                for name, (count, mean, most) in stages.items()
            },
            queues={
                worker.name: QueueTelemetry(depth=worker.waiting, capacity=worker.capacity, refused=worker.refused)
                for worker in self._workers
            },
            outbox=OutboxTelemetry(
                rows=stats.rows,
                bytes=stats.bytes,
                oldest_seconds=stats.oldest_age_seconds,
                evicted=stats.evicted,
                in_memory=stats.in_memory,
                problem=stats.problem,
            ),
            evidence_skipped=self._metrics.evidence_skipped(),
            temperatures_celsius=temperatures(),
            memory_bytes=resident_bytes(),
            refused_requests=self._link.refused_requests,
            clock_jumps=self._metrics.clock_jumps,
        )
