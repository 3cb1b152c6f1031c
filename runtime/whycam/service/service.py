"""The service: cameras in, alerts out, for months."""

from __future__ import annotations

import fcntl
import logging
import math
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import IO, Any

import whycam
from whycam.alerts.episodes import Reason, cleared
from whycam.alerts.evidence import EvidenceStore
from whycam.alerts.outbox import Outbox
from whycam.bundle import Bundle
from whycam.config.file import load_config
from whycam.config.models import Camera as CameraConfig
from whycam.config.models import Config, Explain
from whycam.detect import Decision, Model
from whycam.errors import InputError, WhycamError
from whycam.mqtt.client import MqttClient
from whycam.mqtt.commands import CommandListener
from whycam.mqtt.ear import Received
from whycam.mqtt.events import no_state_message, score_message, state_message, telemetry_message
from whycam.mqtt.homeassistant import (
    BIRTH,
    discovery_message,
    discovery_topic,
    entities,
    no_discovery_message,
    status_topic,
)
from whycam.mqtt.payloads import (
    ErrorPayload,
    ExplainRequest,
    ExplainResponse,
    OutboxTelemetry,
    QueueTelemetry,
    SetCommand,
    SetResult,
    StageTelemetry,
    TelemetryPayload,
)
from whycam.mqtt.publisher import OutboxPublisher
from whycam.service import systemd
from whycam.service.answering import Answering
from whycam.service.clock import Clock
from whycam.service.compose import Composer
from whycam.service.host import resident_bytes, temperatures
from whycam.service.lane import Lane, carried_on
from whycam.service.metrics import CameraFigures, Figures, Metrics, QueueFigures
from whycam.service.reporting import Reporter
from whycam.service.scoring import Scoring
from whycam.service.settings import CameraSettings, Settings
from whycam.service.worker import Worker
from whycam.sources import Frame

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""From SIGTERM to the end."""
_STUCK_SECONDS = 20.0
"""Scoring that has finished nothing for so long hangs."""
_RETENTION_SECONDS = 600.0
_STATE_SECONDS = 30.0
_RETRY_SECONDS = 30.0
"""Between two attempts at a camera whose bundle does not load."""
_FIXED = ("device", "state_directory", "outbox", "evidence", "explain", "metrics")
"""What a reload does not change."""


class Service:
    """Everything that `whycam run` runs. Its parts are made in the order of the data's way, and stopped in it."""

    def __init__(self, path: Path, config: Config) -> None:
        """The service of `config`, read from `path`; raises WhycamError where it cannot begin with that."""
        self._path = path
        self._signals = threading.Event()
        self._stop_wanted = self._reload_wanted = False
        # Before the models are loaded, which takes a while: the default is to die of it.
        signal.signal(signal.SIGHUP, self._on_signal)
        self._began = time.monotonic()
        self.config = config
        self._state = self.config.state
        _make_folder(self._state)
        self._lock = _lock_folder(self._state)
        self._clock = Clock()
        self._metrics = Metrics()
        self._models: dict[tuple[Path, str, tuple[str, ...] | None], Model] = {}
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
        self._lanes: dict[str, Lane] = {}
        self._broken: dict[str, tuple[CameraConfig, str, float]] = {}
        self._score_said: dict[str, float] = {}
        self._open_lanes(self.config.cameras, {})
        if not self._lanes:
            raise InputError(next(iter(self._broken.values()))[1])
        self._connect()
        self._endpoint = (
            self._metrics.serve(self.config.metrics, self._health, self._figures)
            if self.config.metrics.enabled
            else None
        )
        if self._endpoint is not None:
            log.info(
                "figures and health at http://%s:%d/metrics and /healthz", self.config.metrics.host, self._endpoint.port
            )

    def run(self) -> None:
        """Run until SIGTERM or SIGINT; SIGHUP reloads the configuration."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        for worker in (*self._reporter.workers, self._answering.worker):
            worker.start()
        self._scoring.serve(tuple(self._lanes.values()))
        self._scoring.start()
        self._client.start()
        self._publisher.start()
        for lane in self._lanes.values():
            lane.camera.start()
        log.info("ready: %d cameras", len(self._lanes))
        systemd.ready(self._status())
        self._watch()
        self._stop()

    # -- the main thread: signals, watchdog, housekeeping --

    def _on_signal(self, number: int, _: object) -> None:
        if number == signal.SIGHUP:
            self._reload_wanted = True
        else:
            self._stop_wanted = True
        self._signals.set()

    def _watch(self) -> None:
        every = _Every()
        every(_RETENTION_SECONDS, "retention")
        while not self._stop_wanted:
            self._signals.wait(_beat_seconds())
            self._signals.clear()
            if self._reload_wanted and not self._stop_wanted:
                self._reload_wanted = False
                self._reload()
            self._feed_watchdog(self._status())
            jump = self._clock.check()
            if jump is not None:
                self._metrics.clock_jump()
            if every(_STATE_SECONDS, "state"):
                self._say_states()
            if self._broken and every(_RETRY_SECONDS, "broken"):
                self._retry_broken()
            if every(self.config.broker.telemetry_seconds, "telemetry"):
                self._client.publish(telemetry_message(self._topics, self._telemetry()))
            if self._store is not None and every(_RETENTION_SECONDS, "retention"):
                self._store.retention()

    def _feed_watchdog(self, status: str | None = None) -> None:
        if self._scoring.stuck_seconds < _STUCK_SECONDS:
            systemd.watchdog(status)

    def _stop(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS - 0.5
        log.info("stopping")
        systemd.stopping()
        for lane in self._lanes.values():
            lane.camera.stop(0)
        self._scoring.stop(1.0)
        # Episodes stay open in the outbox: the service carries them on when it is back.
        self._reporter.stop(min(2.0, deadline - time.monotonic()))
        self._answering.worker.stop(0, finish=False)
        self._listener.stop()
        self._publisher.stop(max(0.1, deadline - time.monotonic() - 0.5))
        self._client.stop(max(deadline - time.monotonic(), 0.2))
        self._outbox.close()
        if self._endpoint is not None:
            self._endpoint.close()
        log.info("stopped")

    # -- cameras --

    def _open_lanes(self, cameras: Sequence[CameraConfig], carried: Mapping[str, Lane]) -> None:
        """Make the lanes of `cameras`; one whose model does not load is told of, the others go on."""
        for camera in cameras:
            try:
                model = self._model(camera)
                settings = self._known(camera.name, model)
                before = carried.get(camera.name)
                lane = Lane(
                    camera,
                    model,
                    settings,
                    before.retire() if before else carried_on(self._outbox.open_episodes(camera.name), self._clock),
                    self._clock,
                    footage_seconds=self.config.evidence.clip_seconds if self._store is not None else 0,
                    ready=self._scoring.wake,
                    changed=self._say_state,
                    emit=self._reporter.alerts.put,
                    picture=self._keep_picture,
                )
            except Exception as error:
                if not isinstance(error, WhycamError):
                    log.exception("camera '%s' could not be set up", camera.name, extra={"camera": camera.name})
                if camera.name not in self._broken or self._broken[camera.name][1] != str(error):
                    log.error("camera '%s' is left out: %s", camera.name, error, extra={"camera": camera.name})
                self._broken[camera.name] = (camera, str(error), self._clock.now())
                continue
            self._broken.pop(camera.name, None)
            self._lanes[camera.name] = lane
        self._clear_orphans({camera.name for camera in cameras})

    def _clear_orphans(self, opened: Collection[str]) -> None:
        """Clear what nobody follows any more: removed while the service was away, camera or class, or disarmed."""
        for name in self._outbox.open_cameras():
            lane = self._lanes.get(name)
            if name in self._broken or (lane is not None and name not in opened):
                continue
            followed = {episode.id for episode in lane.open_episodes} if lane else set()
            episodes = carried_on(self._outbox.open_episodes(name), self._clock)
            reason: Reason = "disarmed" if lane and not lane.armed else "removed"
            orphans = [cleared(one, self._clock.now(), reason) for one in episodes if one.id not in followed]
            if orphans:
                self._reporter.forget(name, orphans, [one for one in episodes if one.id in followed])

    def _retry_broken(self) -> None:
        """Try the cameras again that were left out: a disk with their bundle may be there by now."""
        cameras = [camera for camera, _, _ in self._broken.values()]
        self._open_lanes(cameras, {})
        new = [self._lanes[camera.name] for camera in cameras if camera.name in self._lanes]
        self._scoring.serve(tuple(self._lanes.values()))
        for lane in new:
            log.info("set up after all", extra={"camera": lane.name})
            lane.camera.start()

    def _model(self, camera: CameraConfig) -> Model:
        key = (camera.bundle, camera.precision, camera.providers)
        if key not in self._models:
            systemd.status(f"loading {camera.bundle.name}")
            # In a thread: an engine may be built for minutes, and systemd waits no longer than it is told to.
            loading = Future[Model]()
            threading.Thread(
                target=_load_model, args=(camera, self.config.explain, loading), name="loading", daemon=True
            ).start()
            while not wait((loading,), _beat_seconds()).done:
                if self._stop_wanted:
                    raise InputError("not loaded: the service is stopping")
                systemd.extend_timeout(60)
                self._feed_watchdog()
            self._models[key] = loading.result()
        return self._models[key]

    def _known(self, camera: str, model: Model) -> CameraSettings:
        """What was set for the camera, without classes that its model no longer has."""
        settings = self._settings.of(camera)
        kept = {name: value for name, value in settings.thresholds.items() if name in model.manifest.anomalies}
        return CameraSettings(armed=settings.armed, thresholds=kept)

    def _reload(self) -> None:
        systemd.reloading()
        try:
            config = load_config(self._path)
            self._check_reload(config)
        except WhycamError as error:
            log.error("the configuration is not reloaded, the one before stands: %s", error)
            systemd.ready(self._status())
            return
        wanted = {camera.name: camera for camera in config.cameras}
        gone = {name: lane for name, lane in self._lanes.items() if wanted.get(name) != lane.config}
        for name, lane in gone.items():
            lane.camera.stop(0)
            del self._lanes[name]
        self._scoring.serve(tuple(self._lanes.values()))
        for name, lane in gone.items():
            if name not in wanted:
                lane.close("removed")
        # What the old lanes have said is in the outbox before the new ones speak.
        self._reporter.alerts.idle(STOP_SECONDS)
        for name in set(self._broken) - set(wanted):
            del self._broken[name]
        # Topics are in every payload, command and entity: another root is another device.
        broker = config.broker.model_copy(update={"root": self.config.broker.root})
        reconnect = broker != self.config.broker
        self.config = config.model_copy(
            update={**{name: getattr(self.config, name) for name in _FIXED}, "broker": broker}
        )
        self._models = {
            key: model
            for key, model in self._models.items()
            if any(lane.model is model for lane in self._lanes.values())
        }
        new = [camera for camera in config.cameras if camera.name not in self._lanes]
        self._open_lanes(new, gone)
        self._scoring.serve(tuple(self._lanes.values()))
        for camera in new:
            if camera.name in self._lanes:
                self._lanes[camera.name].camera.start()
        if reconnect:
            self._listener.stop()
            self._publisher.stop()
            self._client.stop(1.0)
            self._connect()
            self._client.start()
            self._publisher.start()
        else:
            self._announce()
            self._forget_cameras()
        self._say_states()
        log.info("reloaded: %d cameras, %d new or changed", len(self._lanes), len(new))
        systemd.ready(self._status())

    def _check_reload(self, config: Config) -> None:
        if config.broker.root != self.config.broker.root:
            log.warning("'broker.root' has changed: it holds after a restart")
        for name in _FIXED:
            if getattr(config, name) != getattr(self.config, name):
                log.warning("'%s' has changed: it holds after a restart, cameras and broker are reloaded now", name)

    # -- what subscribers hear --

    def _connect(self) -> None:
        self._client = MqttClient(self.config.broker, self.config.device)
        self._publisher = OutboxPublisher(self._client, self._outbox)
        self._listener = CommandListener(self._client, self._topics, self)
        if self.config.broker.home_assistant:
            self._client.subscribe(status_topic(self.config.broker.discovery_prefix), 0, self._on_home_assistant)
        self._announce()
        self._client.on_connect(self._forget_cameras)

    def _forget_cameras(self) -> None:
        """Take back the retained state of cameras that were removed, while the service was away perhaps."""
        present = {camera.name for camera in self.config.cameras}
        for name in self._settings.announced - present:
            self._client.publish(no_state_message(self._topics, name))
        try:
            self._settings.announce(present)
        except OSError as error:
            log.warning("the disk does not take which cameras are announced (%s)", error.strerror)

    def _announce(self) -> None:
        """Tell Home Assistant of this device, now and, as the message is retained, at each connection."""
        broker = self.config.broker
        known = self._settings.entities
        if not broker.home_assistant:
            if known:
                self._client.publish(no_discovery_message(broker.discovery_prefix, self._topics))
                self._keep_entities({})
            return
        cameras: dict[str, Collection[str]] = {name: lane.thresholds for name, lane in tuple(self._lanes.items())}
        cameras |= dict.fromkeys(self._broken, ())
        present = entities(self._topics, cameras)
        # The classes of a camera whose model does not load are not known: its entities stay.
        gone = {
            key: platform
            for key, platform in known.items()
            if key not in present and key.partition(".")[0] not in self._broken
        }
        self._client.publish(
            discovery_message(
                broker.discovery_prefix, self._topics, whycam.__version__, cameras, gone, broker.score_seconds
            )
        )
        self._keep_entities({**known, **{key: str(entity["platform"]) for key, entity in present.items()}})

    def _keep_entities(self, known: Mapping[str, str]) -> None:
        try:
            self._settings.keep_entities(known)
        except OSError as error:
            log.warning("the disk does not take what Home Assistant knows (%s)", error.strerror)

    def _on_home_assistant(self, message: Received) -> None:
        """It has started, and asks who is there; what is retained it has got already."""
        if message.payload == BIRTH and not message.retain:
            self._client.republish(discovery_topic(self.config.broker.discovery_prefix, self._topics))

    def _scored(self, lane: Lane, decision: Decision | None, seconds: float) -> None:
        self._metrics.stage("score", seconds)
        if decision is None:
            return
        now = time.monotonic()
        if now - self._score_said.get(lane.name, -1e9) >= self.config.broker.score_seconds:
            self._score_said[lane.name] = now
            self._client.publish(score_message(self._topics, self._composer.score(lane, decision)))

    def _keep_picture(self, lane: Lane, frame: Frame) -> None:
        if self._store is not None:
            self._reporter.footage.offer((lane, frame))

    def _say_state(self, lane: Lane) -> None:
        self._client.publish(state_message(self._topics, self._composer.state(lane)))

    def _say_states(self) -> None:
        for lane in tuple(self._lanes.values()):
            self._say_state(lane)
        for camera, reason, since in tuple(self._broken.values()):
            self._client.publish(state_message(self._topics, self._composer.broken(camera, reason, since)))

    # -- what subscribers ask: called from the client's thread --

    def cameras(self) -> Sequence[str]:
        """The names of the cameras that take commands."""
        return tuple(self._lanes)

    def set(self, camera: str, command: SetCommand) -> SetResult:
        """Obey `command`: kept on the disk first, then in force, then told to all.

        Raises InputError, and changes nothing, for a class that does not raise here, or a disk that does not take it.
        """
        lane = self._lanes[camera]
        thresholds = dict(command.thresholds or {})
        lane.check_thresholds(thresholds)
        before = self._settings.of(camera)
        kept = CameraSettings(
            armed=before.armed if command.armed is None else command.armed,
            thresholds={**before.thresholds, **thresholds},
        )
        try:
            self._settings.keep(camera, kept)
        except OSError as error:
            raise InputError(
                f"camera '{camera}': the device's disk does not take the setting ({error.strerror})"
            ) from error
        if thresholds:
            lane.set_thresholds(thresholds)
        if command.armed is not None:
            lane.set_armed(command.armed)
        log.info("set: %s", command.model_dump(exclude_unset=True), extra={"camera": camera})
        self._say_state(lane)
        return self._composer.set_result(lane, command.request_id)

    def explain(
        self, camera: str, request: ExplainRequest, reply: Callable[[ExplainResponse | ErrorPayload], None]
    ) -> None:
        """Answer `request` through `reply`, from another thread; raises InputError for what there is not."""
        self._answering.ask(self._lanes[camera], request, reply)

    # -- how it is doing --

    def _status(self) -> str:
        counts = Counter(lane.camera.state.state.value for lane in tuple(self._lanes.values()))
        counts.update({"failed": len(self._broken)} if self._broken else {})
        cameras = ", ".join(f"{count} {state}" for state, count in counts.items())
        stats = self._outbox.stats()
        broker = "connected" if self._client.is_connected else f"no broker ({self._client.problem or 'connecting'})"
        return f"cameras: {cameras}; {broker}; {stats.rows} messages waiting"

    def _health(self) -> tuple[bool, dict[str, object]]:
        """Healthy while frames are scored, or none are there to be; the broker and the disk are told, not judged."""
        stuck = self._scoring.stuck_seconds
        stats = self._outbox.stats()
        return stuck < _STUCK_SECONDS, {
            "scoring": "alive" if stuck < _STUCK_SECONDS else f"nothing finished for {stuck:.0f} s",
            "cameras": {name: lane.camera.state.state.value for name, lane in tuple(self._lanes.items())}
            | dict.fromkeys(self._broken, "failed"),
            "broker": "connected" if self._client.is_connected else self._client.problem or "connecting",
            "outbox": {"rows": stats.rows, "problem": stats.problem},
        }

    def _figures(self) -> Figures:
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
                )
                for name, lane in tuple(self._lanes.items())
            }
            | dict.fromkeys(tuple(self._broken), CameraFigures("failed", 0.0, 0, 0, 0, 0, 0, 0)),
            queues={
                worker.name: QueueFigures(worker.waiting, worker.capacity, worker.refused) for worker in self._workers
            },
            outbox=stats,
            connected=self._client.is_connected,
            uptime_seconds=time.monotonic() - self._began,
        )

    def _telemetry(self) -> TelemetryPayload:
        stats = self._outbox.stats()
        stages = self._metrics.stages()
        return TelemetryPayload(
            device=self.config.device,
            time=self._composer.time(),
            version=whycam.__version__,
            uptime_seconds=round(time.monotonic() - self._began, 1),
            cameras={name: self._composer.camera_telemetry(lane) for name, lane in tuple(self._lanes.items())},
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
            refused_requests=self._listener.refused,
        )

    @property
    def _workers(self) -> tuple[Worker[Any], ...]:
        return (*self._reporter.workers, self._answering.worker)


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


def _beat_seconds() -> float:
    """How often the main thread looks around."""
    return min(systemd.watchdog_seconds() or 2.0, 2.0) / 2


def _load_model(camera: CameraConfig, explain: Explain, loaded: Future[Model]) -> None:
    try:
        model = Model(Bundle.open(camera.bundle), camera.precision, camera.providers)
        model.open_explainer(explain.method, explain.time)
    except BaseException as error:
        loaded.set_exception(error)
    else:
        loaded.set_result(model)


def _lock_folder(folder: Path) -> IO[bytes] | None:
    """Hold the folder for this process: two services with one outbox would send everything twice."""
    try:
        file = (folder / "lock").open("wb")
    except OSError:
        return None  # a disk that takes nothing is told of, and lived with, elsewhere
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InputError(f"{folder}: another whycam runs on it; stop that, or set another state_directory") from None
    except OSError:
        pass
    return file


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: the state directory cannot be made ({error.strerror})") from error
