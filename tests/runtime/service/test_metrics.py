"""What Prometheus and whoever asks for the health are told."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from whycam.alerts.outbox import OutboxStats
from whycam.config.models import Metrics as MetricsConfig
from whycam.endpoint import Endpoint
from whycam.errors import InputError
from whycam.service.metrics import CameraFigures, Figures, Metrics, QueueFigures, ShadowFigures

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"

SHARES = {"CUDAExecutionProvider": 0.75, "CPUExecutionProvider": 0.25}
SHADOW = ShadowFigures({"compared": 90, "agreed": 88, "skipped": 7, "failed": 0}, {"both": 2, "live": 1}, 0.03)


class Device:
    """A device whose figures and health a test sets."""

    def __init__(self) -> None:
        self.healthy = True
        self.metrics = Metrics()
        self.endpoint: Endpoint = self.metrics.serve(MetricsConfig(port=0), self.health, self.figures)

    def health(self) -> tuple[bool, dict[str, object]]:
        """What /healthz is told."""
        return self.healthy, {"scoring": "alive"}

    def figures(self) -> Figures:
        """What /metrics looks up."""
        return Figures(
            {
                "gate": CameraFigures(
                    "running", 9.5, 100, 3, 97, 2, 1, 0, drift=(1.5, True), shadow=SHADOW, providers=SHARES
                )
            },
            {"alerts": QueueFigures(1, 256, 4)},
            OutboxStats(5, 1234, 6.5, {"heatmap": 7}, 8, None),
            [("fight", "2", "0123456789abcdef", "on-trial")],
            3,
            connected=True,
            uptime_seconds=60.0,
        )

    def get(self, path: str) -> str:
        """The body of an answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.endpoint.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def values(self) -> dict[str, float]:
        """Each sample with its labels."""
        lines = [line for line in self.get("/metrics").splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


@pytest.fixture
def device() -> Iterator[Device]:
    made = Device()
    yield made
    made.endpoint.close()


def test_the_figures_are_those_of_the_moment(device: Device) -> None:
    device.metrics.stage("score", 0.02)
    device.metrics.episode("gate", "raised", "fight")
    device.metrics.explanation("late")
    device.metrics.evidence("disk full")
    device.metrics.clock_jump()
    values = device.values()
    assert values['whycam_camera_state{camera="gate",state="running"}'] == 1
    assert values['whycam_camera_state{camera="gate",state="failed"}'] == 0
    assert values['whycam_camera_dropped_total{camera="gate"}'] == 3
    assert values['whycam_camera_drift_statistic{camera="gate"}'] == 1.5
    assert values['whycam_camera_drifted{camera="gate"}'] == 1
    assert values['whycam_camera_provider{camera="gate",provider="CUDAExecutionProvider"}'] == 0.75
    assert values['whycam_camera_provider{camera="gate",provider="CPUExecutionProvider"}'] == 0.25
    assert values['whycam_shadow_frames_total{camera="gate",outcome="skipped"}'] == 7
    assert values['whycam_shadow_episodes_total{camera="gate",raised_by="live"}'] == 1
    assert values['whycam_shadow_difference{camera="gate"}'] == 0.03
    assert values['whycam_queue_refused_total{stage="alerts"}'] == 4
    assert values['whycam_bundle_info{bundle="fight",id="0123456789abcdef",state="on-trial",version="2"}'] == 1
    assert values["whycam_bundle_rollbacks_total"] == 3
    assert values["whycam_outbox_in_memory"] == 8
    assert values['whycam_outbox_evicted_total{kind="heatmap"}'] == 7
    assert values['whycam_stage_seconds_count{stage="score"}'] == 1
    assert values['whycam_alerts_total{camera="gate",label="fight",phase="raised"}'] == 1
    assert device.metrics.evidence_skipped() == {"disk full": 1}
    assert device.metrics.stages() == {"score": (1, 0.02, 0.02)}
    assert device.metrics.stages() == {}


def test_the_page_names_exactly_the_metrics_there_are(device: Device) -> None:
    device.metrics.stage("score", 0.02)
    device.metrics.episode("gate", "raised", "fight")
    device.metrics.explanation("late")
    device.metrics.evidence("written")
    names = {re.split(r"[{ ]", name)[0] for name in device.values()}
    shown = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in names if not name.endswith("_created")}
    section = PAGE.read_text(encoding="utf-8").partition("\n## Of a fleet")[0]
    documented = set(re.findall(r"^\| `(whycam_\w+)` \|", section, re.MULTILINE))
    assert {name for name in shown if name.startswith("whycam_")} == documented


def test_health_is_a_status_and_its_reasons(device: Device) -> None:
    assert json.loads(device.get("/healthz")) == {"healthy": True, "scoring": "alive"}
    device.healthy = False
    with pytest.raises(urllib.error.HTTPError) as caught:
        device.get("/healthz")
    assert caught.value.code == 503
    assert json.loads(caught.value.read()) == {"healthy": False, "scoring": "alive"}


def test_a_reader_that_says_nothing_does_not_keep_the_next_one_waiting_for_ever(device: Device) -> None:
    with socket.create_connection(("127.0.0.1", device.endpoint.port)):
        assert "whycam_uptime_seconds" in device.get("/metrics")


def test_a_port_that_is_taken_is_one_line(device: Device) -> None:
    with pytest.raises(InputError, match=r"cannot be listened on .*; choose another port in \[metrics\]"):
        Metrics().serve(MetricsConfig(port=device.endpoint.port), device.health, device.figures)
