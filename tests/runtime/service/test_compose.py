"""deploy/compose without containers: prepare.sh, the broker as it is there, the service, the watcher, Prometheus."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.processes import tied
from tests.runtime.deployment.versions import make, put
from tests.runtime.mqtt.broker import PASSWORDS, free_port, missing
from tests.runtime.mqtt.collector import until
from tests.runtime.mqtt.deployed import DEPLOY, DeployedBroker
from tests.runtime.mqtt.scraping import MISSING, PROMETHEUS
from tests.runtime.service.running import DEVICE, Running
from whycam.deployment.store import BundleStore

WHY_NOT = missing(passwords=True, tls=True) or MISSING or ("" if os.geteuid() == 0 else "prepare.sh needs root")
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

MAY_BE_EMPTY = {
    "whycam_camera_drift_statistic": "the bundle has no statistics of drift",
    "whycam_temperature_celsius": "not each machine tells its temperatures",
    "ALERTS": "nothing is wrong",
}


@dataclass
class Site:
    """A device and the subscriber's side."""

    secrets: Path
    broker: DeployedBroker
    service: Running
    prometheus: str

    def ask(self, path: str, **values: str) -> Any:
        """What Prometheus answers; None while it does not."""
        url = f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(values)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it reads its disk
                return None
            raise AssertionError(f"{values}: {error.read().decode()}") from error
        except OSError:
            return None
        assert told["status"] == "success", told
        return told["data"]

    def result(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        return list((self.ask("query", query=expression) or {"result": []})["result"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        secrets = prepare(directory)
        broker = stack.enter_context(DeployedBroker(directory / "broker", "container", secrets / "all", {"none": "x"}))
        # A device more, as README.md says.
        assert PASSWORDS is not None
        subprocess.run([PASSWORDS, "-b", broker.passwords, DEVICE, "secret"], check=True, capture_output=True)
        broker.reload()
        service = stack.enter_context(Running(directory / "device", start=False))
        (directory / "device" / "password").write_text("secret")
        (directory / "device" / "password").chmod(0o600)
        login = {"username": DEVICE, "password_file": str(directory / "device" / "password")}
        tls = {"tls": True, "ca_file": str(broker.ca_file), "host": "localhost", "port": broker.port}
        store = BundleStore(service.state / "bundles")
        put(store, make(directory / "device" / "1"))
        camera = {"bundle": str(store.slot("colours").link), "shadow": {"bundle": str(service.bundle)}}
        service.configure((camera,), broker={**login, **tls})
        service.service.start()
        watcher = stack.enter_context(process(directory / "watch", watch_command(secrets, broker.port)))
        port = until(lambda: re.search(r"metrics at http://127\.0\.0\.1:(\d+)", watcher.read_text()), "the port")[1]
        yield Site(secrets, broker, service, start_prometheus(stack, directory / "prometheus", port))


def prepare(directory: Path) -> Path:
    """prepare.sh in a copy of deploy/: the secrets; `all` has those of the broker and its authority."""
    deploy = directory / "deploy"
    shutil.copytree(DEPLOY / "mosquitto", deploy / "mosquitto")
    shutil.copytree(DEPLOY / "compose", deploy / "compose")
    script = deploy / "compose" / "prepare.sh"
    for arguments, says in (((), "name the broker"), (("a broker",), "openssl|neither a host's name")):
        done = subprocess.run([script, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert re.search(says, done.stderr)
        assert not (deploy / "compose" / "certificates").exists()
    subprocess.run([script, "localhost", "127.0.0.1"], check=True, capture_output=True, timeout=60)
    done = subprocess.run([script, "localhost"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "nothing is overwritten" in done.stderr
    secrets = deploy / "compose" / "secrets"
    shutil.copytree(secrets / "broker", secrets / "all")
    shutil.copy(secrets / "ca.crt", secrets / "all")
    return secrets


def watch_command(secrets: Path, port: int) -> list[str]:
    """What compose.yaml has `watch` run, with the test's places."""
    text = (DEPLOY / "compose" / "compose.yaml").read_text(encoding="utf-8")
    section = re.search(r"\n  watch:\n(.*?)\n    # Only Prometheus", text, re.DOTALL)
    assert section is not None
    words = re.findall(r"^      - (\S+)$", section[1], re.MULTILINE)
    places = {
        "${BROKER_NAME}:8883": f"localhost:{port}",
        "/run/secrets/authority": str(secrets / "ca.crt"),
        "/run/secrets/metrics_password": str(secrets / "watch" / "metrics_password"),
        "0.0.0.0:9465": "127.0.0.1:0",
    }
    command = " ".join(words)
    for there, here in places.items():
        assert there in command
        command = command.replace(there, here)
    return [sys.executable, "-m", "whycam", *command.split()]


class process:  # noqa: N801 - read as a function
    """A command in the background; gives the file of what it says."""

    def __init__(self, log: Path, command: list[str]) -> None:
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(tied(command), stdout=out, stderr=out)

    def __enter__(self) -> Path:
        return self._log

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)


def start_prometheus(stack: ExitStack, directory: Path, watched: str) -> str:
    """Prometheus with the configuration of deploy/, but asking each second; its address."""
    shutil.copytree(DEPLOY / "compose" / "prometheus", directory)
    config = directory / "prometheus.yml"
    text = config.read_text(encoding="utf-8").replace("watch:9465", f"127.0.0.1:{watched}").replace("15s", "1s")
    config.write_text(text, encoding="utf-8")
    port = free_port()
    options = ("--config.file", config, "--storage.tsdb.path", directory / "data")
    command = [str(PROMETHEUS), *map(str, options), f"--web.listen-address=127.0.0.1:{port}"]
    stack.enter_context(process(directory / "log", command))
    return f"http://127.0.0.1:{port}"


def test_prometheus_learns_what_the_service_says(site: Site) -> None:
    scored = f'whycam_camera_scored_total{{device="{DEVICE}", camera="gate"}}'
    until(lambda: site.result(f"rate({scored}[10s]) > 0"), "frames scored")
    alerts = f'increase(whycam_alerts_total{{device="{DEVICE}", phase="raised", label="fight"}}[1m]) > 0'
    until(lambda: site.result(alerts), "an alert")
    assert site.result(f'whycam_camera_state{{device="{DEVICE}", camera="gate", state="running"}} == 1')
    assert site.result(f'whycam_bundle_info{{device="{DEVICE}", bundle="colours", version="1"}}')
    assert site.result("whycam_watch_left_out_total > 0") == []
    assert site.result("whycam_watch_ignored_total > 0") == []
    assert abs(float(site.result("whycam_device_clock_offset_seconds")[0]["value"][1])) < 5
    assert "Denied PUBLISH" not in site.broker.log


def test_each_panel_of_the_dashboard_has_something_to_show(site: Site) -> None:
    dashboard = json.loads((DEPLOY / "compose" / "grafana" / "dashboards" / "whycam.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(asked) > 20
    until(lambda: site.result("rate(whycam_camera_scored_total[10s]) > 0"), "frames scored")
    for template in asked:
        expression = template.replace("$__rate_interval", "30s").replace("$device", ".*").replace("$camera", ".*")
        assert "$" not in expression
        if not any(name in expression for name in MAY_BE_EMPTY):
            until(lambda expression=expression: site.result(expression), expression)
        else:
            site.ask("query", query=expression)


def test_the_rules_are_loaded_and_nothing_is_wrong_with_them(site: Site) -> None:
    groups = until(lambda: (site.ask("rules") or {"groups": []})["groups"], "the rules")
    rules = [rule for group in groups for rule in group["rules"]]
    until(lambda: all(rule["health"] == "ok" for rule in rules), "their first evaluation")
    assert len(rules) > 10


def test_the_metrics_user_gets_no_pictures(site: Site) -> None:
    until(lambda: site.result('whycam_watch_messages_total{kind="alert"} > 0'), "an alert")
    assert site.result('whycam_watch_messages_total{kind="heatmap"} > 0') == []


def test_the_passwords_are_made_by_chance_and_for_their_readers_alone(site: Site) -> None:
    made = [site.secrets / "watch" / "metrics_password", site.secrets / "grafana" / "grafana_password"]
    assert len({path.read_text() for path in made}) == 2
    assert {len(path.read_text().strip()) for path in made} == {32}
    assert [(path.stat().st_uid, path.stat().st_mode & 0o777) for path in made] == [(9465, 0o600), (472, 0o600)]
    assert {path.stat().st_uid for path in (site.secrets / "broker").iterdir()} == {1883}
    assert made[0].read_text().strip() not in (site.secrets / "broker" / "whycam.passwords").read_text()


def test_a_device_that_ends_is_told_offline(site: Site) -> None:
    online = f'whycam_device_online{{device="{DEVICE}"}}'
    until(lambda: site.result(f"{online} == 1"), "the device")
    site.service.service.stop()
    until(lambda: site.result(f"{online} == 0"), "its absence")
    until(lambda: not site.result(f'whycam_camera_score{{device="{DEVICE}"}}'), "the end of its scores")
