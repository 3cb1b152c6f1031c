"""The whole service as a process, on a video of plain colours, with a real Mosquitto and a subscriber."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from tests.chaos.processes import Supervisor
from tests.chaos.subscriber import Arrival, Subscriber
from tests.runtime import tiny_bundle
from tests.runtime.mqtt.broker import Broker

DEVICE = "post"
COLOURS = {"quiet": (255, 0, 0), "fight": (0, 255, 0), "fire": (0, 0, 255)}
RULES = {
    "minimum_seconds": 0.3,
    "merge_seconds": 0.3,
    "cool_down_seconds": 0,
    "update_seconds": 1,
    "signal_lost_seconds": 5,
}
SCENES = (("quiet", 10), ("fight", 15), ("quiet", 10), ("fire", 15))


def write_video(path: Path, scenes: Sequence[tuple[str, int]] = SCENES) -> Path:
    """A video of 64 x 48 at 10 frames per second: the name and the frames of each scene."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for name, count in scenes:
        for _ in range(count):
            writer.write(np.full((48, 64, 3), COLOURS[name], np.uint8))
    writer.release()
    return path


class Running:
    """Broker, service and subscriber, from the start to the end of a `with` block."""

    def __init__(
        self,
        directory: Path,
        *,
        cameras: Sequence[Mapping[str, Any]] = ({},),
        tables: Mapping[str, Mapping[str, Any]] | None = None,
        start: bool = True,
        behind: Sequence[object] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Keep all files in `directory`; `cameras` and `tables` change what the configuration says.

        The command that starts the service is put behind the words of `behind`.
        """
        self.directory = directory
        self.state = directory / "state"
        self.bundle = tiny_bundle.build(directory / "colours.whycam")
        self.video = write_video(directory / "scenes.mp4")
        self.config = directory / "whycam.toml"
        self._tables = dict(tables or {})
        self._environment = dict(environment or {})
        self.start_seconds = 60.0
        self._cameras = cameras
        self._start = start
        self._behind = behind
        self._opened = ExitStack()

    def __enter__(self) -> Running:
        try:
            self.broker = self._opened.enter_context(Broker(self.directory / "broker"))
            self.subscriber = Subscriber("127.0.0.1", self.broker.port)
            self._opened.callback(self.subscriber.stop)
            self.subscriber.start()
            self.configure(self._cameras)
            command = [*self._behind, sys.executable, "-m", "whycam", "run", "-c", self.config]
            environment = {"PYTHONUNBUFFERED": "1", **self._environment}
            self.service = Supervisor(command, self.directory / "service.log", environment)
            self._opened.callback(self.service.stop)
            if self._start:
                self.service.start(self.start_seconds)
                self.must(self.subscriber.wait_for(self._is_online, 30), "online")
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.close()

    def configure(self, cameras: Sequence[Mapping[str, Any]], **tables: Mapping[str, Any]) -> None:
        """Write the configuration."""
        chosen: dict[str, Mapping[str, Any]] = {
            "broker": {"host": "127.0.0.1", "port": self.broker.port, "score_seconds": 0.2, "telemetry_seconds": 1},
            "metrics": {"port": 0},
            "evidence": {"clip_seconds": 3, "min_free_bytes": 0},
        }
        for name, values in {**self._tables, **tables}.items():
            chosen[name] = {**chosen.get(name, {}), **values}
        lines = _assignments({"device": DEVICE, "state_directory": str(self.state)})
        for name, values in chosen.items():
            lines += [f"[{name}]", *_assignments(values)]
        for changes in cameras:
            camera = {
                "name": "gate",
                "source": str(self.video),
                "bundle": str(self.bundle),
                "repeat": True,
                "frozen_seconds": 0,
                "black_seconds": 0,
                "alert": RULES,
                **changes,
            }
            tables_of = {name: camera.pop(name) for name in ("alert", "motion", "drift", "shadow") if name in camera}
            lines += ["[[camera]]", *_assignments(camera)]
            for name, values in tables_of.items():
                lines += [f"[camera.{name}]", *_assignments(values)]
        self.config.write_text("\n".join(lines) + "\n")

    def alert(self, phase: str, start: int = 0, seconds: float = 30, **wanted: object) -> Arrival:
        """The first alert of this phase after the first `start` messages, with these values; fails where none comes."""

        def found(one: Arrival) -> bool:
            body = one.body
            return one.kind == "alert" and {**body, "phase": phase, **wanted} == body

        return self.must(self.subscriber.wait_for(found, seconds, start), f"{phase} {wanted}")

    def told(self, topic: str, start: int = 0, seconds: float = 30, **wanted: object) -> Arrival:
        """The first message to `topic`, after the first `start` messages, with these values; fails where none comes."""

        def found(one: Arrival) -> bool:
            return one.topic == f"whycam/{DEVICE}/{topic}" and {**one.body, **wanted} == one.body

        return self.must(self.subscriber.wait_for(found, seconds, start), f"{topic} {wanted}")

    @staticmethod
    def _is_online(one: Arrival) -> bool:
        return one.topic.endswith("/availability") and one.payload == b"online"

    def must(self, arrival: Arrival | None, what: str) -> Arrival:
        """The arrival; fails, with the end of the service's log, where it did not come."""
        assert arrival is not None, f"{what} did not come:\n{self.service.log[-3000:]}"
        return arrival


def _assignments(values: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]
