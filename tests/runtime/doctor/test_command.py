"""`whycam doctor`, run as a user runs it, on this machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runtime.service.running import Running

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_without_a_configuration_the_platform_is_looked_at_and_that_is_said(whycam: Run) -> None:
    result = whycam("doctor")

    assert result.returncode in (0, 1), result.stderr
    assert "Platform" in result.stdout
    assert "Broker" not in result.stdout
    assert "whycam doctor -c /etc/whycam/whycam.toml" in result.stdout


@pytest.mark.parametrize("text", [None, "device = 1", "nonsense["])
def test_a_configuration_that_cannot_be_used_is_bad_input(whycam: Run, tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "whycam.toml").write_text(text)

    result = whycam("doctor", "-c", "whycam.toml", "--json")

    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr


def checks(result: subprocess.CompletedProcess[str]) -> dict[tuple[str, str | None], str]:
    document = json.loads(result.stdout)
    assert document["schema"] == "whycam.doctor/1"
    assert all(set(one) == {"check", "camera", "status", "found", "fix", "facts"} for one in document["checks"])
    assert all(one["fix"] for one in document["checks"] if one["status"] == "failure")
    return {(one["check"], one["camera"]): one["status"] for one in document["checks"]}


def test_a_device_is_examined_before_and_while_its_service_runs(whycam: Run, tmp_path: Path) -> None:
    from tests.runtime.mqtt.broker import free_port, missing

    if why := missing():
        pytest.skip(why)
    with Running(tmp_path / "all", start=False, tables={"metrics": {"port": free_port()}}) as running:
        result = whycam("doctor", "-c", running.config, "--json", "--seconds", 120)
        before = checks(result)
        assert result.returncode == 0, result.stdout
        assert json.loads(result.stdout)["device"] == "post"
        assert (
            before["broker.hear", None] == before["camera.open", "gate"] == before["bundle.self_test", "gate"] == "ok"
        )
        assert before["bundle.speed", "gate"] == "ok"

        running.service.start()
        assert running.subscriber.wait_for(lambda one: one.kind == "score", 30)
        result = whycam("doctor", "-c", running.config, "--json", "--seconds", 120)
        during = checks(result)
        assert result.returncode == 0, result.stdout
        service = next(one for one in json.loads(result.stdout)["checks"] if one["check"] == "service.running")
        assert service["facts"]["running"]
        assert service["facts"]["health"]["cameras"] == {"gate": "running"}
        assert during["bundle.speed", "gate"] in ("ok", "warning"), "by what the service scores"
        assert set(before) <= set(during) | {("bundle.speed", "gate")}

        running.broker.stop()
        result = whycam("doctor", "-c", running.config, "--json", "--seconds", 120)
        assert result.returncode == 1
        after = checks(result)
        assert after["broker.tcp", None] == "failure"
        assert after["service.running", None] == "warning", "it says that the broker is away"
