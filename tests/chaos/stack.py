"""Broker, camera, service and subscriber together, and the script that the camera plays."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.chaos.processes import Supervisor
from tests.chaos.subscriber import Arrival, Subscriber
from tests.chaos.verdict import Accepted, Anomaly, Row, judge
from tests.runtime.mqtt.broker import Broker
from tests.runtime.mqtt.proxy import Proxy
from tests.runtime.scripted_camera import ScriptedCamera

COLOURS = {"fight": "green", "fire": "red"}
QUIET = "blue"
PATIENCE = 30.0
"""Seconds that a recovery is waited for; one that takes longer is none."""
DEVICE = "chaos"
SECONDS_UP = 0.6
"""How long scores must say alert before an anomaly may end: well over the rules' `minimum_seconds`."""


class Stack:
    """All of it, from start to end of a `with` block; the verdict is in `row` afterwards."""

    def __init__(
        self,
        directory: Path,
        bundle: Path,
        row: Row,
        *,
        seed: str,
        passwords: Mapping[str, str] | None = None,
        proxied: str = "",
        may_split: frozenset[str] = frozenset(),
        config: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        clock_set: bool = False,
        broker_settings: tuple[str, ...] = (),
    ) -> None:
        """Keep all files in `directory`; `proxied`: "broker" or "camera" is reached through a proxy."""
        self.directory, self.bundle, self.row = directory, bundle, row
        self.random = random.Random(seed)
        self.state = directory / "state"
        self.state.mkdir(parents=True, exist_ok=True)
        self.anomalies: list[Anomaly] = []
        self.destroyed: frozenset[str] = frozenset()
        self._may_split, self._clock_set = may_split, clock_set
        self._passwords = dict(passwords) if passwords else None
        self._proxied = proxied
        self._config = dict(config or {})
        self._environment = dict(environment or {})
        self._broker_settings = broker_settings
        self._opened = ExitStack()
        self.cameras: tuple[str, ...] = ("gate",)
        """Those that see what is shown."""
        self.last_kill = 0.0
        self.config_path = directory / "whycam.toml"

    def __enter__(self) -> Stack:
        try:
            self._start()
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._judge()
        finally:
            self._opened.close()

    def _start(self) -> None:
        files = self.directory / "broker"
        self.broker = Broker(files, passwords=self._passwords, settings=self._broker_settings)
        self._opened.enter_context(self.broker)
        self.camera = self._opened.enter_context(ScriptedCamera())
        self.camera.show(QUIET)
        broker_port, camera_port = self.broker.port, self.camera.port
        if self._proxied:
            self.proxy = Proxy(broker_port if self._proxied == "broker" else camera_port)
            self._opened.callback(self.proxy.close)
        self.broker_port = self.proxy.port if self._proxied == "broker" else broker_port
        self.camera_port = self.proxy.port if self._proxied == "camera" else camera_port
        user, password = ("watcher", self._passwords["watcher"]) if self._passwords else (None, None)
        self.subscriber = Subscriber("127.0.0.1", broker_port, user=user, password=password)
        self._opened.callback(self.subscriber.stop)
        self.subscriber.start()
        self.write_config()
        self.service = Supervisor(
            [sys.executable, "-m", "whycam", "run", "-c", self.config_path],
            self.directory / "service.log",
            {"PYTHONUNBUFFERED": "1", **self._environment},
        )
        self._opened.callback(self.service.stop)
        self.service.start()
        if self.wait_score(time.monotonic(), 60) is None:
            raise RuntimeError(f"the service gives no scores:\n{self.service.log[-3000:]}")

    # -- configuration --

    def write_config(self, *, cameras: tuple[str, ...] = ("gate",), **changes: object) -> None:
        """Write whycam.toml; `changes` are values of tables, by dotted key."""
        values: dict[str, object] = {
            "device": DEVICE,
            "state_directory": str(self.state),
            "broker.host": "127.0.0.1",
            "broker.port": self.broker_port,
            "broker.score_seconds": 0.2,
            "broker.telemetry_seconds": 1,
            "metrics.port": 0,
            "evidence.clip_seconds": 3,
            **self._config,
            **{key.replace("__", "."): value for key, value in changes.items()},
        }
        if self._passwords:
            secret = self.directory / "password"
            if not secret.exists():
                self.write_password(self._passwords["device"])
            values |= {"broker.username": "device", "broker.password_file": str(secret)}
        tables: dict[str, dict[str, object]] = {}
        for key, value in values.items():
            table, _, name = key.rpartition(".")
            tables.setdefault(table, {})[name] = value
        lines = _assignments(tables.pop("", {}))
        camera_values = tables.pop("camera", {})
        alert_values = tables.pop("camera.alert", {})
        for table, entries in tables.items():
            lines += ["", f"[{table}]", *_assignments(entries)]
        for name in cameras:
            camera = {
                "name": name,
                "source": f"rtsp://127.0.0.1:{self.camera_port}/{self.camera.path}",
                "bundle": str(self.bundle),
                # A plain colour is what the camera shows: neither frozen nor black here.
                "frozen_seconds": 0,
                "black_seconds": 0,
                "stall_seconds": 3,
                **camera_values,
            }
            alert = {
                "minimum_seconds": 0.3,
                "merge_seconds": 1,
                "cool_down_seconds": 0.2,
                "update_seconds": 1,
                "signal_lost_seconds": 6,
                **alert_values,
            }
            lines += ["", "[[camera]]", *_assignments(camera), "[camera.alert]", *_assignments(alert)]
        self.config_path.write_text("\n".join(lines) + "\n")

    def write_password(self, password: str) -> None:
        """Give the service this password from its next look at the file."""
        secret = self.directory / "password"
        secret.write_text(f"{password}\n")
        secret.chmod(0o600)

    # -- the script --

    @contextmanager
    def anomaly(self, label: str, seconds: float | None = None, *, sure: bool = True) -> Iterator[None]:
        """The camera shows `label` through the block and on.

        With `seconds`: for so long in all, however the service does; without: until scores that are fresh have said so
        for a moment, or patience ends. Either way it is expected to be received. Not `sure`: it ends with the block,
        whether the service has seen it or not.
        """
        start, begun = time.time(), time.monotonic()
        self.camera.show(COLOURS[label])
        yield
        if seconds is not None:
            time.sleep(max(begun + seconds - time.monotonic(), 0))
        elif sure:
            self.wait_seen(label)
        self.camera.show(QUIET)
        self.anomalies += [Anomaly(camera, label, start, time.time(), sure) for camera in self.cameras]

    def also_seen(self, camera: str) -> None:
        """The last anomaly was, perhaps, seen by `camera` too."""
        self.anomalies.append(dataclasses.replace(self.anomalies[-1], camera=camera, sure=False))

    def play(self, label: str, seconds: float | None = None) -> None:
        """An anomaly of which nothing disturbs the seeing."""
        with self.anomaly(label, seconds):
            pass

    def wait_seen(self, label: str, seconds: float = PATIENCE) -> bool:
        """Wait until fresh scores have said `label` for long enough; False where patience ends."""
        deadline, first = time.monotonic() + seconds, None
        index, since = len(self.subscriber.arrivals), time.monotonic()
        while (left := deadline - time.monotonic()) > 0:
            score = self.subscriber.wait_for(self._is_score, min(left, 1.0), index)
            if score is None:
                first = None
                continue
            index = self.subscriber.arrivals.index(score, index) + 1
            if not (score.body["alert"] and score.body["label"] == label and score.arrived >= since):
                first = None
            elif first is None:
                first = score.arrived
            elif score.arrived - first >= SECONDS_UP:
                return True
        return False

    @staticmethod
    def _is_score(arrival: Arrival) -> bool:
        return arrival.kind == "score" and bool(arrival.body) and arrival.body["warm"] and not arrival.retained

    def wait_score(self, since: float, seconds: float = PATIENCE, camera: str = "gate") -> Arrival | None:
        """The first warm score that arrives after `since` (monotonic) and was made after it."""
        made = time.time() - (time.monotonic() - since) - 0.05

        def fresh(one: Arrival) -> bool:
            here = self._is_score(one) and one.body["camera"] == camera and one.arrived >= since
            return here and (self._clock_set or one.sent >= made)

        return self.subscriber.wait_for(fresh, seconds)

    def score_gaps(self, camera: str, start: int) -> list[float]:
        """Seconds between the scores of `camera`, after the first `start` messages."""
        times = [
            one.arrived for one in self.subscriber.since(start) if self._is_score(one) and one.body["camera"] == camera
        ]
        return [later - earlier for earlier, later in pairwise(times)]

    def state_of(self, camera: str) -> dict[str, Any]:
        """The last state that was told."""
        told = [one.body for one in self.subscriber.since(0) if one.topic.endswith(f"/{camera}/state") and one.body]
        return told[-1]

    def wait_state(self, camera: str, state: str, seconds: float) -> Arrival | None:
        """The first message from now on that tells this state; the present one counts."""
        start = len(self.subscriber.arrivals)
        told = [one for one in self.subscriber.since(0)[:start] if one.topic.endswith(f"/{camera}/state") and one.body]
        if told and told[-1].body["state"] == state:
            return told[-1]
        return self.subscriber.wait_for(
            lambda one: one.topic.endswith(f"/{camera}/state") and one.body.get("state") == state, seconds, start
        )

    def injected(self) -> None:
        """Count a fault."""
        self.row.injected += 1

    def recover(self, since: float | None = None) -> bool:
        """A fault was over at `since` (monotonic; now by default): wait for fresh scores, and note how long it took."""
        since = time.monotonic() if since is None else since
        score = self.wait_score(since)
        self.row.recovery.append(None if score is None else round(max(score.arrived - since, 0), 2))
        return score is not None

    def quiet(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def settle(self, seconds: float = 45) -> bool:
        """Wait until every raised episode is cleared at the subscriber, and the camera is seen quiet."""
        deadline = time.monotonic() + seconds
        since = time.monotonic()
        while time.monotonic() < deadline:
            score = self.wait_score(since, 1.0)
            if score is not None and not score.body["alert"] and not self.unsettled():
                return True
            since = time.monotonic()
            time.sleep(0.1)
        return False

    def unsettled(self) -> set[str]:
        """The episodes accepted or raised, and not cleared, as far as the subscriber knows."""
        raised: set[str] = {line.id for line in self.accepted()}
        for arrival in self.alerts():
            raised.add(arrival.body["id"])
        raised -= self.destroyed
        return raised - {one.body["id"] for one in self.alerts() if one.body["phase"] == "cleared"}

    def alerts(self) -> list[Arrival]:
        """The alert messages so far."""
        return [one for one in self.subscriber.since(0) if one.kind == "alert" and one.body]

    def accepted(self) -> list[Accepted]:
        """What the service says it has put into its outbox."""
        return accepted_in(self.service.log)

    def wait_accepted(self, phase: str, after: int, seconds: float = PATIENCE) -> bool:
        """Wait until the log names a phase of an episode beyond the first `after` lines of such."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(line.phase == phase for line in self.accepted()[after:]):
                return True
            time.sleep(0.01)
        return False

    def wait_log(self, pattern: str, start: int, seconds: float = PATIENCE) -> str | None:
        """The first line of the log, beyond its first `start` characters, that `pattern` is found in."""
        deadline = time.monotonic() + seconds
        while True:
            for line in self.service.log[start:].splitlines():
                if re.search(pattern, line):
                    return line
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.1)

    # -- the end --

    def _judge(self) -> None:
        if not self.settle():
            self.row.notes.append(f"not settled: {sorted(self.unsettled())}")
        self.row.problems += [f"the service died by itself (status {death.status})" for death in self.service.crashes]
        judge(
            self.row,
            self.anomalies,
            self.subscriber.since(0),
            self.accepted(),
            may_split=self._may_split,
            destroyed=self.destroyed,
            clock_set=self._clock_set,
        )


def accepted_in(log: str) -> list[Accepted]:
    """The alerts that a log says were put into the outbox."""
    return [Accepted(found["id"], found["phase"]) for found in _ACCEPTED.finditer(log)]


_ACCEPTED = re.compile(r" INFO \S+ alert=(?P<id>[0-9a-f-]{36}): \S+ (?P<phase>raised|updated|cleared): ")


def _assignments(values: Mapping[str, object]) -> list[str]:
    # JSON's strings, numbers, booleans and lists of them are TOML's too.
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]
