"""deploy/compose: what its files say, held against one another and against the metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.runtime.mqtt.scraping import MISSING, PROMTOOL, names, samples
from whycam.watch.families import FAMILIES
from whycam.watch.metrics import MetricsView

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose"
PROMETHEUS = COMPOSE / "prometheus"
TESTS = Path(__file__).parent / "rules.test.yml"
READS_YAML = ["/usr/bin/python3", "-c", "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"]
needs_prometheus = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def parsed(path: Path) -> Any:
    """A YAML file, read by Debian's Python."""
    done = run(*READS_YAML, input=path.read_text(encoding="utf-8"))
    if "No module named 'yaml'" in done.stderr:
        pytest.skip("needs YAML in the system's Python (Debian: python3-yaml)")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = parsed(COMPOSE / "compose.yaml")
    return found


@cache
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((COMPOSE / "grafana" / "dashboards" / "whycam.json").read_text(encoding="utf-8"))
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """All that the dashboard asks Prometheus."""
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    asked += [one["expr"] for one in dashboard()["annotations"]["list"]]
    return asked + [one["query"]["query"] for one in dashboard()["templating"]["list"]]


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    return [rule for group in parsed(PROMETHEUS / "rules.yml")["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def metrics() -> set[str]:
    """What `whycam watch --metrics` tells, samples or not, and what Prometheus makes itself."""
    registry = CollectorRegistry()
    registry.register(MetricsView())
    return {*FAMILIES, *names(samples(generate_latest(registry).decode())), "up", "ALERTS"}


def test_each_expression_asks_for_metrics_that_there_are(rules: list[dict[str, Any]], metrics: set[str]) -> None:
    asked = [*expressions(), *(rule["expr"] for rule in rules)]
    used = {name for expression in asked for name in re.findall(r"\b(?:whycam_\w+|up|ALERTS)\b", expression)}
    assert used - metrics == set()
    assert len(used) > 25
    for expression in asked:
        assert re.search(r"\b(?:whycam_\w+|up|ALERTS)\b", expression), expression


def test_the_dashboard_shows_its_panels_side_by_side() -> None:
    covered: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & covered, panel["title"]
        assert place["x"] + place["w"] <= 24
        covered |= cells
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


def test_the_dashboard_asks_the_source_that_is_provisioned() -> None:
    (source,) = parsed(COMPOSE / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    asking = [*dashboard()["annotations"]["list"], *dashboard()["templating"]["list"], *panels()]
    asking += [target for panel in panels() for target in panel["targets"]]
    assert {one["datasource"]["uid"] for one in asking} == {source["uid"]}


@needs_prometheus
def test_prometheus_takes_its_configuration_and_rules() -> None:
    for kind, name in (("config", "prometheus.yml"), ("rules", "rules.yml")):
        done = run(str(PROMTOOL), "check", kind, PROMETHEUS / name)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_each_alarm_comes_when_it_should(tmp_path: Path) -> None:
    shutil.copy(PROMETHEUS / "rules.yml", tmp_path)
    shutil.copy(TESTS, tmp_path)
    done = run(str(PROMTOOL), "test", "rules", tmp_path / TESTS.name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alarm_is_tried_with_and_without_cause(rules: list[dict[str, Any]]) -> None:
    cases = [case for test in parsed(TESTS)["tests"] for case in test["alert_rule_test"]]
    alarms = [rule["alert"] for rule in rules]
    assert len(alarms) == len(set(alarms))
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == set(alarms)
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == set(alarms)


def test_the_page_names_each_alarm(rules: list[dict[str, Any]], repository: Path) -> None:
    text = (repository / "docs" / "howto" / "dashboard.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z]\w+)` \|.*\| (?:(\d+) min|at once) \|$", text, re.MULTILINE)
    assert rows == [(rule["alert"], rule.get("for", "").removesuffix("m")) for rule in rules]


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in compose["services"].items() if "build" not in service}
    (base,) = re.findall(r"^FROM (\S+)$", (COMPOSE / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    for image in (*images.values(), base):
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+(-[a-z-]+)?", image), image
    assert images["broker"] in (COMPOSE / "prepare.sh").read_text(encoding="utf-8")


def test_services_are_confined(compose: dict[str, Any]) -> None:
    users = {}
    for name, service in compose["services"].items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "cap_add", "network_mode", "pid"} & set(service)
        users[name] = service.get("user")
    dockerfile = (COMPOSE / "Dockerfile").read_text(encoding="utf-8")
    users["watch"] = re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)[-1]
    assert {name: user.split(":")[0] for name, user in users.items()} == {
        "broker": "1883",
        "watch": "9465",
        "prometheus": "65534",
        "grafana": "472",
    }
    script = (COMPOSE / "prepare.sh").read_text(encoding="utf-8")
    assert {owner.split(":")[0] for owner in re.findall(r"chown -R (\S+)", script)} == {"1883", "9465", "472"}


def test_only_the_broker_is_reached_from_elsewhere(compose: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert ports.pop("broker") == ["8883:8883", "8884:8884"]
    assert all(port.startswith("127.0.0.1:") for published in ports.values() for port in published)
    assert compose["services"]["watch"]["networks"] == ["figures"]
    assert compose["networks"]["figures"] == {"internal": True}


def test_what_must_survive_is_on_volumes(compose: dict[str, Any]) -> None:
    kept = {
        volume.split(":")[0]: volume.split(":")[1]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
        if not volume.startswith(".")
    }
    assert kept == {"broker": "/mosquitto/data", "prometheus": "/prometheus", "grafana": "/var/lib/grafana"}
    assert set(kept) == set(compose["volumes"])
    assert f"persistence_location {kept['broker']}/\n" in (COMPOSE / "mosquitto.conf").read_text(encoding="utf-8")
    assert f"--storage.tsdb.path={kept['prometheus']}" in compose["services"]["prometheus"]["command"]


def test_what_is_mounted_is_there_and_cannot_be_written_to(compose: dict[str, Any]) -> None:
    mounted = [one for service in compose["services"].values() for one in service.get("volumes", []) if one[0] == "."]
    assert len(mounted) == 5
    for one in mounted:
        source, _, how = one.split(":")
        assert (COMPOSE / source).exists(), one
        assert how == "ro"


def test_secrets_are_files_that_are_made_and_used(compose: dict[str, Any]) -> None:
    used = [secret for service in compose["services"].values() for secret in service.get("secrets", [])]
    assert {one if isinstance(one, str) else one["source"] for one in used} == set(compose["secrets"])
    for secret in compose["secrets"].values():
        assert set(secret) == {"file"}
        assert secret["file"].startswith("secrets/")
    told = [value for service in compose["services"].values() for value in service.get("environment", {}).items()]
    assert [name for name, _ in told if "PASSWORD" in name and not name.endswith("__FILE")] == []
    assert {"/.env", "/secrets/", "/certificates/"} <= set((COMPOSE / ".gitignore").read_text().split())


def test_the_broker_finds_each_file_that_its_configuration_names(compose: dict[str, Any]) -> None:
    broker = compose["services"]["broker"]
    there = {secret["target"] for secret in broker["secrets"]}
    told = (COMPOSE.parent / "mosquitto" / "whycam.conf").read_text(encoding="utf-8")
    wanted = set(re.findall(r"^\w+ (/etc/mosquitto/\S+)$", told, re.MULTILINE))
    assert wanted == there


def test_the_image_gets_the_versions_of_the_lock(repository: Path) -> None:
    (command,) = re.findall(r"(sed -n .*?) /tmp/whycam/requirements\.lock", (COMPOSE / "Dockerfile").read_text())
    lines = run("bash", "-c", f"{command} {repository / 'requirements.lock'}").stdout.splitlines()
    for line in lines:
        assert re.fullmatch(r"[a-z0-9._-]+==[^\s;]+( ; .+)?", line), line
    needed = {re.split(r"[><=; ]", line)[0] for line in requires("whycam") or () if "extra ==" not in line}
    assert {"pydantic", "paho-mqtt"} <= needed <= {line.partition("==")[0] for line in lines}


def test_compose_itself_takes_the_file(compose: dict[str, Any], tmp_path: Path) -> None:
    commands = [words for words in (["docker", "compose"], ["docker-compose"]) if shutil.which(words[0])]
    command = next((words for words in commands if run(*words, "version").returncode == 0), None)
    if command is None:
        pytest.skip("needs docker compose")
    folder = shutil.copytree(COMPOSE.parent, tmp_path / "deploy") / "compose"
    (folder / ".env").write_text("BROKER_NAME=broker.example\n")
    done = run(*command, "config", "--format", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["services"]) == set(compose["services"])
    (folder / ".env").unlink()
    assert "run prepare.sh first" in run(*command, "config", cwd=folder).stderr
