"""The service: cameras in, alerts out, for months."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from whycam.alerts.evidence import EvidenceStore
from whycam.alerts.outbox import Outbox
from whycam.config.file import load_config
from whycam.config.models import Config
from whycam.deployment.store import BundleStore
from whycam.deployment.trust import is_trusted
from whycam.detect import Decision
from whycam.drift import DriftReport
from whycam.errors import InputError, WhycamError
from whycam.mqtt.events import (
    bundles_message,
    drift_message,
    score_message,
    shadow_message,
    state_message,
    telemetry_message,
)
from whycam.service import systemd
from whycam.service.answering import Answering
from whycam.service.broker_link import BrokerLink
from whycam.service.candidates import Candidates
from whycam.service.clock import Clock
from whycam.service.compose import Composer
from whycam.service.compose_shadow import shadow_payload
from whycam.service.control import Control
from whycam.service.fleet import Fleet
from whycam.service.installed import InstalledBundles
from whycam.service.lane import Lane
from whycam.service.metrics import Metrics
from whycam.service.models import Models
from whycam.service.over_the_air import OverTheAir
from whycam.service.reporting import Reporter
from whycam.service.scoring import STUCK_SECONDS, Scoring
from whycam.service.settings import Settings
from whycam.service.shadow import Shadow
from whycam.service.shadows import Shadows
from whycam.service.state_folder import lock_folder, make_folder
from whycam.service.trials import Trials
from whycam.service.versions import Versions
from whycam.service.vitals import Vitals
from whycam.service.worker import Worker
from whycam.sources import Frame

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""From SIGTERM to the end."""
_RETENTION_SECONDS = 600.0
_STATE_SECONDS = 30.0
_REST_SECONDS = 5.0
_BUNDLE_SECONDS = 1.0
_RETRY_SECONDS = 30.0
"""Between two attempts at a camera whose bundle does not load."""
_FIXED = ("device", "state_directory", "threads", "outbox", "evidence", "explain", "bundles", "metrics")
"""What a reload does not change."""


class Service:
    """Everything that `whycam run` runs. Its parts are made in the order of the data's way, and stopped in it."""

    def __init__(self, path: Path, config: Config) -> None:
        """The service of `config`, read from `path`; raises WhycamError where it cannot begin with that."""
        self._path = path
        self._signals = threading.Event()
        self._stop_wanted = self._reload_wanted = False
        # Before the models are loaded, which takes a while: the default is to die of it, and a bundle on trial would
        # be held to have died of itself.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        began = time.monotonic()
        self.config = config
        self._state = self.config.state
        make_folder(self._state)
        self._lock = lock_folder(self._state)
        self._clock = Clock()
        self._metrics = Metrics()
        self._settings = Settings(self._state / "settings.json")
        self._outbox = Outbox(
            self._state / "outbox.db", self.config.outbox.max_bytes, self.config.outbox.max_age_days * 86400
        )
        self._store = (
            EvidenceStore(self._state / "evidence", self.config.evidence) if self.config.evidence.enabled else None
        )
        self._composer = Composer(self.config, self._clock, self._store)
        self._topics = self._composer.topics
        self._reporter = Reporter(self.config, self._composer, self._outbox, self._store, self._metrics)
        self._answering = Answering(self._composer, self._metrics, self.config.explain)
        self._scoring = Scoring(self._scored)
        self._trials = Trials(config.bundles.grace_seconds, lambda path: is_trusted(path, config.bundles))
        self._models = Models(config.explain, config.threads, self._loading, config.bundles, self._trials.barred)
        self._said: dict[tuple[str, str], float] = {}
        self._said_lock = threading.Lock()
        candidates = Candidates(self._state / "candidates.json", config.bundles)
        self._shadows = Shadows(self.config, self._composer, self._outbox, candidates, self._say_shadow)
        self._fleet = Fleet(
            self._clock,
            self._settings,
            self._outbox,
            self._models,
            self._reporter,
            self._scoring,
            footage_seconds=self.config.evidence.clip_seconds if self._store is not None else 0,
            changed=self._say_state,
            picture=self._keep_picture,
            drifted=self._say_drift,
            follower=self._shadows.of,
        )
        self._installed = InstalledBundles(BundleStore(self.config.bundle_directory))
        self._versions = Versions(self._fleet, self._models, self._trials, self._scoring, lambda: self._stop_wanted)
        self._versions.open(self.config.cameras)
        if self._stop_wanted or not self._fleet.lanes:
            if self._stop_wanted:
                self._trials.end()
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGTERM)
            raise InputError(next(iter(self._fleet.broken.values()))[1])
        try:
            self._connect(began)
        except WhycamError:
            # What is on trial is not to blame.
            self._trials.end()
            raise

    def _connect(self, began: float) -> None:
        """Make what speaks to others; the service `began` at that moment, monotonic seconds."""
        self._over_the_air = OverTheAir(self.config, self._path, self._composer)
        control = Control(
            self._fleet, self._settings, self._composer, self._answering, self._over_the_air, self._say_state
        )
        self._link = BrokerLink(self.config.broker, self._topics, self._outbox, self._settings, self._fleet, control)
        self._vitals = Vitals(
            began,
            self._fleet,
            self._scoring,
            self._outbox,
            self._link,
            self._workers,
            self._composer,
            self._metrics,
            self._installed,
            self._trials,
        )
        self._endpoint = (
            self._metrics.serve(self.config.metrics, self._vitals.health, self._vitals.figures)
            if self.config.metrics.enabled
            else None
        )
        if self._endpoint is not None:
            log.info(
                "figures and health at http://%s:%d/metrics and /healthz", self.config.metrics.host, self._endpoint.port
            )

    def run(self) -> None:
        """Run until SIGTERM or SIGINT; SIGHUP reloads the configuration."""
        for worker in self._workers:
            worker.start()
        self._fleet.serve()
        self._scoring.start()
        self._link.start()
        self._fleet.start()
        log.info("ready: %d cameras", len(self._fleet.lanes))
        systemd.ready(self._vitals.status())
        self._say_bundles()
        self._watch()
        self._stop()
        if self._versions.hung:
            raise InputError(
                "ended, as scoring hung in a bundle that was taken back; the one before is run from now on"
            )

    @property
    def _workers(self) -> tuple[Worker[Any], ...]:
        return (*self._reporter.workers, self._answering.worker, self._shadows.worker, self._over_the_air.worker)

    def _stop(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS - 0.5
        log.info("stopping")
        systemd.stopping()
        self._fleet.stop()
        self._scoring.stop(1.0)
        self._shadows.stop(0)
        # Episodes stay open in the outbox: the service carries them on when it is back.
        self._reporter.stop(min(2.0, deadline - time.monotonic()))
        self._answering.worker.stop(0, finish=False)
        self._over_the_air.stop(1.0)
        self._link.stop(deadline)
        self._outbox.close()
        if not self._versions.hung:
            self._trials.end()
        if self._endpoint is not None:
            self._endpoint.close()
        log.info("stopped")

    def _on_signal(self, number: int, _: object) -> None:
        if number == signal.SIGHUP:
            self._reload_wanted = True
        else:
            self._stop_wanted = True
        self._signals.set()

    def _watch(self) -> None:
        every = _Every()
        every(_RETENTION_SECONDS, "retention")
        while not (self._stop_wanted or self._versions.hung):
            self._signals.wait(systemd.beat_seconds())
            self._signals.clear()
            if self._reload_wanted and not self._stop_wanted:
                self._reload_wanted = False
                self._reload()
            self._feed_watchdog(self._vitals.status())
            jump = self._clock.check()
            if jump is not None:
                self._metrics.clock_jump()
            if every(_REST_SECONDS, "rest"):
                self._models.rest()
            if every(_STATE_SECONDS, "state"):
                self._say_states()
            if every(_BUNDLE_SECONDS, "bundles"):
                self._look_after_bundles()
            if self._fleet.broken and every(_RETRY_SECONDS, "broken") and self._fleet.retry_broken():
                # Its classes were not known before.
                self._link.announce()
            if every(self.config.broker.telemetry_seconds, "telemetry"):
                self._link.publish(telemetry_message(self._topics, self._vitals.telemetry()))
            if self._store is not None and every(_RETENTION_SECONDS, "retention"):
                self._store.retention()

    def _look_after_bundles(self) -> None:
        if self._versions.look_after(self.config.cameras):
            # Its classes may be others.
            self._link.announce()
            self._say_states()
        if self._installed.look():
            self._say_bundles()

    def _feed_watchdog(self, status: str | None = None) -> None:
        if self._scoring.stuck_seconds < STUCK_SECONDS:
            systemd.watchdog(status)

    def _loading(self) -> None:
        """A model is being loaded: an engine may be built for minutes."""
        if self._stop_wanted:
            raise InputError("not loaded: the service is stopping")
        systemd.extend_timeout(60)
        self._feed_watchdog()

    def _reload(self) -> None:
        systemd.reloading()
        try:
            config = load_config(self._path)
            self._check_reload(config)
        except WhycamError as error:
            log.error("the configuration is not reloaded, the one before stands: %s", error)
            systemd.ready(self._vitals.status())
            return
        self._trials.begin(config.cameras)
        new = self._fleet.change_to(config.cameras)
        # Topics are in every payload, command and entity: another root is another device.
        broker = config.broker.model_copy(update={"root": self.config.broker.root})
        reconnect = broker != self.config.broker
        self.config = config.model_copy(
            update={**{name: getattr(self.config, name) for name in _FIXED}, "broker": broker}
        )
        if reconnect:
            self._link.reconnect(broker)
            for lane in tuple(self._fleet.lanes.values()):
                if lane.drift is not None and lane.drift.drifted is not None:
                    self._say_drift(lane, lane.drift)
        else:
            self._link.announce()
        self._say_states()
        self._say_bundles()
        log.info("reloaded: %d cameras, %d new or changed", len(self._fleet.lanes), new)
        systemd.ready(self._vitals.status())

    def _check_reload(self, config: Config) -> None:
        if config.broker.root != self.config.broker.root:
            log.warning("'broker.root' has changed: it holds after a restart")
        for name in _FIXED:
            if getattr(config, name) != getattr(self.config, name):
                log.warning("'%s' has changed: it holds after a restart, cameras and broker are reloaded now", name)

    # -- what subscribers hear --

    def _scored(self, lane: Lane, decision: Decision, seconds: float) -> None:
        self._metrics.stage("score", seconds)
        if self._is_due("score", lane.name):
            self._link.publish(score_message(self._topics, self._composer.score(lane, decision)))

    def _say_shadow(self, lane: Lane, shadow: Shadow) -> None:
        if self._is_due("shadow", lane.name):
            self._link.publish(shadow_message(self._topics, shadow_payload(self._composer, lane, shadow)))

    def _is_due(self, what: str, camera: str) -> bool:
        """Whether the time between two messages with scores is over; from this one on it begins anew."""
        now = time.monotonic()
        with self._said_lock:
            if now - self._said.get((what, camera), -math.inf) < self.config.broker.score_seconds:
                return False
            self._said[what, camera] = now
            return True

    def _keep_picture(self, lane: Lane, frame: Frame) -> None:
        if self._store is not None:
            self._reporter.footage.offer((lane, frame))

    def _say_state(self, lane: Lane) -> None:
        self._link.publish(state_message(self._topics, self._composer.state(lane)))

    def _say_drift(self, lane: Lane, report: DriftReport) -> None:
        if report.drifted:
            what = "shows something else than it was calibrated on: %s"
            log.warning(what, ", ".join(sign.says for sign in report.signs), extra={"camera": lane.name})
        else:
            log.info("shows what it was calibrated on", extra={"camera": lane.name})
        self._link.publish(drift_message(self._topics, self._composer.drift(lane, report)))
        self._say_state(lane)

    def _say_bundles(self) -> None:
        self._installed.look()
        payload = self._installed.payload(self._composer, self.config.cameras)
        self._link.publish(bundles_message(self._topics, payload))

    def _say_states(self) -> None:
        for lane in tuple(self._fleet.lanes.values()):
            self._say_state(lane)
        for camera, reason, since in tuple(self._fleet.broken.values()):
            self._link.publish(state_message(self._topics, self._composer.broken(camera, reason, since)))


class _Every:
    """Tells when something that recurs is due."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, seconds: float, what: str) -> bool:
        now = time.monotonic()
        if now - self._last.get(what, -math.inf) < seconds:
            return False
        self._last[what] = now
        return True
