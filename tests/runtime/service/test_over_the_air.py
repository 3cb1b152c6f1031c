"""Bundles over the air: what may be sent for is installed, what may not is refused, and the cameras go on."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.deployment.versions import make, make_key, packed, put, sign
from tests.runtime.deployment.web import Web
from tests.runtime.mqtt.collector import until
from tests.runtime.service.running import DEVICE, Running
from whycam.config.file import load_config
from whycam.deployment.store import BundleStore
from whycam.errors import InputError
from whycam.mqtt.payloads import ErrorPayload, InstallCommand, InstallResult
from whycam.mqtt.requests import RefusedError
from whycam.service import over_the_air
from whycam.service.clock import Clock
from whycam.service.compose import Composer
from whycam.service.over_the_air import OverTheAir

RESPONSE = "bundles/install/response"


class Fleet:
    """A device that takes the factory's bundles from a web server and a folder, and versions to send it."""

    def __init__(self, folder: Path, web: Web) -> None:
        self.web = web
        key = make_key(folder / "keys")
        bundles = {
            "trust_directory": str(folder / "keys"),
            "over_the_air": [f"{web.url}/fleet", str(folder / "inbox")],
        }
        (folder / "inbox").mkdir()
        self.inbox = folder / "inbox"
        current = folder / "state" / "bundles" / "colours" / "current"
        self.running = Running(
            folder,
            cameras=({"bundle": str(current)},),
            tables={"bundles": bundles, "evidence": {"min_free_bytes": 0}},
        )
        sign(self.running.bundle, key)
        put(BundleStore(folder / "state" / "bundles"), self.running.bundle)
        good, unsigned = make(folder / "good.whycam", "2"), make(folder / "unsigned.whycam", "3")
        sign(good, key)
        self.good, self.unsigned = packed(good).read_bytes(), packed(unsigned).read_bytes()

    def send(self, **command: object) -> int:
        """Send for a bundle; the number of messages that were there before."""
        before = len(self.running.subscriber.arrivals)
        self.running.subscriber.publish(f"whycam/{DEVICE}/bundles/install", json.dumps(command).encode())
        return before

    def answer(self, before: int, **wanted: object) -> dict[str, Any]:
        """The first answer with these values."""
        return self.running.told(RESPONSE, before, 120, **wanted).body


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Web() as web:
        made = Fleet(tmp_path_factory.mktemp("fleet"), web)
        with made.running:
            yield made


def test_a_bundle_is_fetched_and_installed_while_the_cameras_go_on(fleet: Fleet) -> None:
    fleet.web.pages["/fleet/good.whycam.tar"] = fleet.good
    before = fleet.send(url=f"{fleet.web.url}/fleet/good.whycam.tar", sha256=digest(fleet.good), request_id="a")

    accepted = fleet.answer(before, state="accepted")
    assert (accepted["schema"], accepted["request_id"]) == ("whycam.install.result/1", "a")
    installed = fleet.answer(before, state="installed")
    assert (installed["name"], installed["version"], installed["changed"]) == ("colours", "2", True)
    assert not (fleet.running.state / "incoming").exists()
    fleet.running.told("gate/state", before, 60, version="2", state="running")
    kinds = [one.kind for one in fleet.running.subscriber.since(before)]
    first, last = (kinds.index("response"), len(kinds) - 1 - kinds[::-1].index("response"))
    assert "score" in kinds[first:last]
    assert len(fleet.running.service.deaths) == 0


def test_a_bundle_in_a_folder_of_the_device_is_installed(fleet: Fleet) -> None:
    (fleet.inbox / "good.whycam.tar").write_bytes(fleet.good)
    before = fleet.send(file=str(fleet.inbox / "good.whycam.tar"), sha256=digest(fleet.good))

    assert fleet.answer(before, state="installed")["version"] == "2"


def test_what_is_not_signed_or_not_what_was_meant_is_not_installed(fleet: Fleet) -> None:
    fleet.web.pages["/fleet/unsigned"], fleet.web.pages["/fleet/noise"] = fleet.unsigned, b"noise"
    for name, content, words in (
        ("unsigned", fleet.unsigned, "is not signed"),
        ("unsigned", fleet.good, "not the one that was named"),
        ("noise", b"noise", "is no archive of a bundle"),
        ("nothing", b"", "answers 404"),
    ):
        url = f"{fleet.web.url}/fleet/{name}"
        before = fleet.send(url=url, sha256=digest(content), request_id=name)
        fleet.answer(before, state="accepted")
        failed = fleet.answer(before, code="failed")
        assert words in failed["message"]
        assert url in failed["message"]
        assert (failed["request_id"], failed["camera"]) == (name, None)
    assert not (fleet.running.state / "incoming").exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ({"url": "http://127.0.0.1:1/fleet/x"}, "may not come from"),
        ({"url": "{web}/fleet/../x"}, "'..'"),
        ({"url": "file:///etc/passwd"}, "https://"),
        ({"file": "/etc/passwd"}, "may not come from"),
        ({"file": "{inbox}/../good.whycam.tar"}, "may not come from"),
        ({"file": "{inbox}/nothing"}, "cannot be read"),
        ({}, "one of `url` and `file`"),
        ({"url": "{web}/fleet/x", "file": "{inbox}/x"}, "one of `url` and `file`"),
        ({"url": "{web}/fleet/x", "sha256": "0" * 63}, "sha256"),
        ({"url": "{web}/fleet/x", "allow_unsigned": True}, "not known"),
    ],
)
def test_what_may_not_be_is_refused_at_once(command: dict[str, object], words: str, fleet: Fleet) -> None:
    filled = {key: str(value).format(web=fleet.web.url, inbox=fleet.inbox) for key, value in command.items()}
    asked = len(fleet.web.asked)

    before = fleet.send(**{"sha256": "0" * 64, "request_id": "r", **filled})

    refused = fleet.answer(before, code="invalid")
    assert words in refused["message"]
    assert refused["request_id"] == "r"
    assert len(fleet.web.asked) == asked


def test_by_default_nothing_is_installed_over_the_air(tmp_path: Path) -> None:
    with Running(tmp_path) as running:
        running.subscriber.publish(
            f"whycam/{DEVICE}/bundles/install", json.dumps({"file": "/etc/passwd", "sha256": "0" * 64}).encode()
        )
        refused = running.told(RESPONSE).body
    assert refused["code"] == "forbidden"
    assert "bundles.over_the_air" in refused["message"]


def installers(archive: Path) -> list[int]:
    """The processes that install this archive."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"install" in words and str(archive).encode() in words:
                found.append(int(folder.name))
    return found


def test_nothing_stays_of_an_installation_in_which_the_service_was_killed(tmp_path: Path) -> None:
    with Web() as web:
        fleet = Fleet(tmp_path, web)
        web.pages["/fleet/good"] = fleet.good
        running = fleet.running
        archive = running.state / "incoming" / "bundle.whycam.tar"
        with running:
            before = fleet.send(url=f"{web.url}/fleet/good", sha256=digest(fleet.good))
            fleet.answer(before, state="accepted")
            until(lambda: installers(archive), "the installer")
            killed = len(running.subscriber.arrivals)
            running.service.kill()

            until(lambda: not installers(archive), "the installer's end")
            current = running.state / "bundles" / "colours" / "current" / "manifest.json"
            assert json.loads(current.read_text())["version"] == "1"
            # Said after the subscriptions: what is sent from now on is heard.
            assert running.subscriber.wait_for(lambda one: one.payload == b"online", 60, killed)
            assert not archive.parent.exists()
            again = fleet.send(url=f"{web.url}/fleet/good", sha256=digest(fleet.good))
            assert fleet.answer(again, state="installed")["version"] == "2"


class Device:
    """The part of the service that has bundles installed, with another program in the place of the installer."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        inbox = folder / "inbox"
        inbox.mkdir()
        (inbox / "bundle").write_bytes(b"content")
        config = folder / "whycam.toml"
        config.write_text(
            f'device = "post"\nstate_directory = "state"\n[bundles]\nover_the_air = ["{inbox}"]\n[evidence]\n'
            'min_free_bytes = 0\n[[camera]]\nname = "gate"\nsource = "gate.mp4"\nbundle = "none.whycam"\n'
        )
        loaded = load_config(config)
        loaded.state.mkdir(exist_ok=True)
        self.incoming = loaded.state / "incoming"
        self.incoming.mkdir()
        (self.incoming / "left by a run that was killed").write_text("x")
        self.tried = OverTheAir(loaded, config, Composer(loaded, Clock(), None), command=command)
        self.tried.worker.start()
        self.command = InstallCommand(file=str(inbox / "bundle"), sha256=digest(b"content"))
        self.answers: list[InstallResult | ErrorPayload] = []
        self._changed = threading.Condition()

    def order(self) -> None:
        self.tried.order(self.command, self._take)

    def _take(self, answer: InstallResult | ErrorPayload) -> None:
        with self._changed:
            self.answers.append(answer)
            self._changed.notify_all()

    def wait_for(self, count: int) -> InstallResult | ErrorPayload:
        """The answer number `count`."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.answers) >= count, 30)
        return self.answers[count - 1]


Made = Callable[[str], Device]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Made]:
    made: list[Device] = []

    def make_one(code: str) -> Device:
        made.append(Device(tmp_path, [sys.executable, "-c", code, "{archive}"]))
        return made[-1]

    yield make_one
    for one in made:
        one.tried.stop(5)


def test_what_a_killed_run_left_is_removed(device: Made) -> None:
    assert not device("pass").incoming.exists()


def test_one_at_a_time(device: Made, tmp_path: Path) -> None:
    tried = device("import time; time.sleep(60)")
    tried.order()
    with pytest.raises(RefusedError) as caught:
        tried.order()
    assert caught.value.code == "busy"

    began = time.monotonic()
    tried.tried.stop(10)

    assert time.monotonic() - began < 10
    assert "stopping" in tried.wait_for(2).message  # type: ignore[union-attr]
    assert not tried.incoming.exists()


def test_a_graph_that_takes_the_installer_down_leaves_the_service(device: Made) -> None:
    tried = device("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    for count in (2, 4):
        tried.order()
        assert "signal 11" in tried.wait_for(count).message  # type: ignore[union-attr]
        assert tried.tried.worker.idle(10)


def test_an_installer_that_does_not_end_is_ended_with_all_that_it_started(
    device: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(over_the_air, "INSTALL_SECONDS", 1.0)
    code = (
        "import subprocess, sys, time; child = subprocess.Popen(['sleep', '60']);"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid)); time.sleep(60)"
    )
    tried = device(code)
    tried.order()

    assert "did not end" in tried.wait_for(2).message  # type: ignore[union-attr]
    assert not runs(int((tmp_path / "child").read_text()))


KILLED = """
import sys, time
from pathlib import Path
from tests.runtime.service.test_over_the_air import Device
pid = Path(sys.argv[1]) / "pid"
code = f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)"
device = Device(Path(sys.argv[1]), [sys.executable, "-c", code])
device.order()
time.sleep(60)
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv, as the service does for this")
def test_the_installer_dies_with_the_service(tmp_path: Path, repository: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], cwd=repository) as service:
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the installer")
        service.kill()

    assert not runs(int((tmp_path / "pid").read_text()))


def runs(pid: int) -> bool:
    """Whether the process runs; given a moment to end."""
    for _ in range(50):
        with suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.1)
                continue
        return False
    return True


def test_scoring_comes_first(device: Made, tmp_path: Path) -> None:
    tried = device(
        "import os, json, time; time.sleep(0.5); print(json.dumps({'name': 'n', 'version': '1', 'id': str(os.nice(0)),"
        " 'previous': open('/proc/self/oom_score_adj').read().strip(), 'changed': True}))"
    )
    tried.order()

    done = tried.wait_for(2)
    assert isinstance(done, InstallResult)
    assert (done.id, done.previous) == ("10", "1000")


def test_what_may_not_be_sent_for_is_not_even_accepted(device: Made) -> None:
    tried = device("pass")
    for path in ("/etc/passwd", "/nothing"):
        with pytest.raises(InputError):
            tried.tried.order(InstallCommand(file=path, sha256="0" * 64), tried.answers.append)
    assert tried.answers == []
