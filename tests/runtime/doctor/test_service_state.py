"""What is said of a service, by what it says of itself; and how it is found."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from tests.runtime.doctor.conftest import Installation, only
from tests.runtime.mqtt.broker import free_port
from whycam.config.models import Metrics as MetricsConfig
from whycam.doctor import service_state
from whycam.doctor.machine import Machine
from whycam.doctor.report import Status
from whycam.doctor.service_state import Running, running, scored_per_second
from whycam.doctor.unit import Unit
from whycam.endpoint import Endpoint

Configured = Callable[..., Installation]
WELL: dict[str, Any] = {
    "healthy": True,
    "scoring": "alive",
    "cameras": {"gate": "running"},
    "broker": "connected",
    "outbox": {"rows": 0, "problem": None},
}


def said(configured: Configured, health: dict[str, Any] | None, **tables: Any) -> Any:
    installation = configured(**tables)
    installation.once("running", lambda: Running(health, 4711))
    return only(service_state.health(installation))


def test_a_service_that_is_well(configured: Configured) -> None:
    finding = said(configured, WELL)

    assert (finding.status, finding.found) == (Status.OK, "healthy, cameras: gate")


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"healthy": False, "scoring": "nothing finished for 25 s"}, Status.FAILURE, "nothing finished for 25 s"),
        ({"cameras": {"gate": "running", "yard": "stalled"}}, Status.WARNING, "yard stalled"),
        ({"broker": "no answer (timed out)"}, Status.WARNING, "no answer (timed out)"),
        ({"outbox": {"rows": 3, "problem": "disk full"}}, Status.WARNING, "outbox: disk full"),
    ],
)
def test_a_service_that_has_trouble(configured: Configured, change: dict[str, Any], status: Status, told: str) -> None:
    finding = said(configured, {**WELL, **change})

    assert finding.status is status
    assert told in finding.found


def test_a_service_that_does_not_answer(configured: Configured) -> None:
    silent = said(configured, None, metrics={"port": 9464})
    unserved = said(configured, None, metrics={"port": 0})

    assert (silent.status, unserved.status) == (Status.FAILURE, Status.OK)
    assert "process 4711" in silent.found
    assert str(silent.fix).startswith("kill 4711")


def test_no_service_is_a_warning_only_where_one_is_installed(configured: Configured) -> None:
    installation = configured()
    installation.once("running", lambda: None)
    assert only(service_state.health(installation)).status is Status.OK

    installation.unit = Unit(Path("/etc/systemd/system/whycam.service"), {}, enabled=True)
    assert only(service_state.health(installation)).fix == "sudo systemctl start whycam"


@pytest.mark.parametrize(
    ("user", "enabled", "status", "fix"),
    [
        ("nobody-of-this-name", True, Status.FAILURE, "sudo useradd --system"),
        (None, False, Status.WARNING, "sudo systemctl enable whycam"),
        (None, True, Status.OK, "None"),
    ],
)
def test_a_unit_must_have_its_user_and_be_started(
    configured: Configured, user: str | None, enabled: bool, status: Status, fix: str
) -> None:
    installation = configured()
    settings = {"User": (user,)} if user else {}
    installation.unit = Unit(Path("/etc/systemd/system/whycam.service"), settings, enabled)

    finding = only(service_state.unit(installation))

    assert finding.status is status
    assert str(finding.fix).startswith(fix)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A state directory that another process of ours holds."""
    state = tmp_path / "state"
    state.mkdir()
    code = "import sys; from pathlib import Path; from whycam.service.state_folder import lock_folder\n"
    code += "file = lock_folder(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield state, process.pid
        process.kill()


def test_a_service_is_found_by_its_lock_and_keeps_it(configured: Configured, holder: tuple[Path, int]) -> None:
    state, pid = holder

    found = running(configured())

    assert found is not None
    assert (found.pid, found.health) == (pid, None)
    with (state / "lock").open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_that_nobody_holds_is_no_service(configured: Configured, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "lock").write_text("")

    assert running(configured()) is None


class Scoring(Collector):
    """A camera that has scored seven frames more at each look."""

    def __init__(self) -> None:
        self.scored = 0

    def describe(self) -> Iterable[CounterMetricFamily]:
        return []

    def collect(self) -> Iterable[CounterMetricFamily]:
        self.scored += 7
        family = CounterMetricFamily("whycam_camera_scored", "Frames scored.", labels=["camera"])
        family.add_metric(["gate"], self.scored)
        yield family


@pytest.fixture
def served() -> Iterator[MetricsConfig]:
    """Where a service serves figures that grow, and that it is not well."""
    registry = CollectorRegistry()
    registry.register(Scoring())
    settings = MetricsConfig(port=free_port())
    health = (False, {"scoring": "nothing finished for 30 s"})
    endpoint = Endpoint(settings.host, settings.port, registry, lambda: health, "another")
    yield settings
    endpoint.close()


def test_an_unhealthy_service_says_so_with_its_status(configured: Configured, served: MetricsConfig) -> None:
    found = running(configured(metrics=served.model_dump()))

    assert found is not None
    assert found.health == {"healthy": False, "scoring": "nothing finished for 30 s"}


def test_frames_are_counted_between_two_looks(served: MetricsConfig) -> None:
    rates = scored_per_second(served, 0.5)

    assert 0 < rates["gate"] <= 14


def test_another_program_on_the_port_is_no_service(configured: Configured, tmp_path: Path) -> None:
    (tmp_path / "healthz").write_text('{"status": "fine"}')
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as other:
        from tests.runtime.mqtt.collector import until

        settings = MetricsConfig(port=port)
        until(lambda: _answers(settings), "the other program")
        try:
            assert running(configured(metrics=settings.model_dump())) is None
        finally:
            other.kill()


def _answers(settings: MetricsConfig) -> bool:
    try:
        return bool(service_state._get(settings, "/healthz"))
    except OSError:
        return False


def test_on_a_recorded_machine_nothing_runs(configured: Configured, tmp_path: Path) -> None:
    installation = configured()
    installation.machine = Machine(tmp_path)

    assert running(installation) is None
