"""`whycam watch` in the background, and what is sent to it: alerts, and what makes no sense."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.runtime.mqtt.collector import Collector, until

TIME = "2026-11-23T18:36:15.123Z"
ALERT = "whycam/gate/door/alert"
JPEG = b"\xff\xd8\xff and so on"


def alert(episode: str | None = None, sequence: int = 0, **values: Any) -> dict[str, Any]:
    return {
        "schema": "whycam.alert/1",
        "id": episode or str(uuid.uuid4()),
        "event_id": str(uuid.uuid4()),
        "sequence": sequence,
        "phase": "raised",
        "device": "gate",
        "camera": "door",
        "label": "fire",
        "score": 0.9,
        "peak": 0.9,
        "threshold": 0.5,
        "onset": TIME,
        "time": TIME,
        "peak_time": TIME,
        "duration_seconds": 1.0,
        "reason": "threshold",
        **values,
    }


def disagreement(**values: Any) -> dict[str, Any]:
    """Of a shadow; the live picture is a JPEG, the candidate's is none."""
    side = {"bundle": "fires", "version": "1", "precision": "fp32", "label": "fire", "alert": True, "threshold": 0.5}

    def view(score: float, picture: bytes) -> dict[str, Any]:
        image = base64.b64encode(picture).decode()
        shown = {"index": 3, "time": TIME, "relevance": 0.6, "image": image}
        return {**side, "scores": {"fire": score}, "score": score, "heatmap": shown}

    return {
        "schema": "whycam.shadow.disagreement/1",
        "id": str(uuid.uuid4()),
        "device": "gate",
        "camera": "door",
        "time": TIME,
        "onset": TIME,
        "label": "fire",
        "raised_by": "live",
        "within_seconds": 5.0,
        "alert": None,
        "method": "grad-cam++",
        "live": view(0.91, JPEG),
        "candidate": view(0.41, b"<svg>"),
        **values,
    }


def shadow(**values: Any) -> dict[str, Any]:
    side = {"bundle": "fires", "version": "2", "precision": "int8", "label": "fire", "alert": True, "scores": {}}
    return {
        "schema": "whycam.shadow/1",
        "device": "gate",
        "camera": "door",
        "time": TIME,
        "live": side,
        "candidate": side,
        "compared": 200,
        "agreed": 199,
        "mean_difference": 0.0125,
        "max_difference": 0.5,
        "episodes": {"both": 3, "live_only": 2, "candidate_only": 1},
        **values,
    }


HOSTILE: dict[str, Any] = {
    "not JSON": b"{",
    "not UTF-8": b"\xff\xfe",
    "NaN": json.dumps(alert(score=float("nan"))).encode(),
    "infinite": json.dumps(alert(newer=1)).replace('"newer": 1', '"newer": 1e999').encode(),
    "another schema": json.dumps(alert(schema="whycam.alert/2")).encode(),
    "a list": b"[1, 2]",
    "nested": b"[" * 100_000,
    "a path for an id": json.dumps(alert("../../../escape")).encode(),
    "a path for an event": json.dumps(alert(event_id="../../escape")).encode(),
    "another camera": json.dumps(alert(camera="yard")).encode(),
    "a huge number": json.dumps(alert(sequence=10**300)).encode(),
    "a long integer": json.dumps(alert(newer=1)).replace('"newer": 1', '"newer": ' + "9" * 10_000).encode(),
    "empty": b"",
}


class Watch:
    """The command in the background; its standard output and error go to files."""

    def __init__(self, directory: Path, url: str, *options: str, **environment: str) -> None:
        self._out, self._error = directory / f"{uuid.uuid4()}.out", directory / f"{uuid.uuid4()}.err"
        with self._out.open("wb") as out, self._error.open("wb") as error:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "whycam", "watch", url, *options],
                stdout=out,
                stderr=error,
                env={**os.environ, "COLUMNS": "200", **environment},
            )

    @property
    def output(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def errors(self) -> str:
        return self._error.read_text(errors="replace")

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The whole JSON lines of this kind so far."""
        lines = [json.loads(line) for line in self.output.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if line["kind"] == kind]

    def until(self, text: str) -> None:
        until(lambda: text in self.errors + self.output, f"'{text}' in {self.errors}{self.output}")

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(30)


Start = Callable[..., Watch]


def ready(watching: Watch, sender: Collector) -> None:
    """Wait until the subscriptions hold."""
    sender.publish("whycam/gate/availability", b"online", retain=True)
    until(lambda: watching.of("availability"), "the first message")
