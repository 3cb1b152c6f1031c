"""`whycam watch` as a process: what was sent while it was away, what comes twice, and what makes no sense."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.runtime.mqtt.broker import Broker
from tests.runtime.mqtt.collector import Collector, until
from tests.runtime.mqtt.watching import ALERT, HOSTILE, JPEG, Start, Watch, alert, disagreement, ready
from whycam.errors import InputError
from whycam.mqtt.server import Server
from whycam.watch.views import LineView
from whycam.watch.watcher import Watcher


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Start]:
    started: list[Watch] = []

    def start(url: str, *options: str, **environment: str) -> Watch:
        started.append(Watch(tmp_path, url, *options, **environment))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


@pytest.fixture
def sender(broker: Broker) -> Iterator[Collector]:
    with Collector(broker.port) as collector:
        yield collector


def saving(url: str, folder: Path, watch: Start, sender: Collector) -> Watch:
    """One that saves to `folder`, ready to hear what is sent."""
    watching = watch(url, "--json", "--save", str(folder))
    ready(watching, sender)
    return watching


@pytest.mark.parametrize(("how", "protocol"), [(signal.SIGTERM, "5"), (signal.SIGINT, "3.1.1"), (signal.SIGKILL, "5")])
def test_what_was_sent_while_away_arrives_on_return(
    broker: Broker, watch: Start, sender: Collector, how: signal.Signals, protocol: str
) -> None:
    url = f"mqtt://127.0.0.1:{broker.port}/gate"
    options = ("--json", "--protocol", protocol)
    first = watch(url, *options)
    ready(first, sender)
    assert first.end(how) == (-signal.SIGKILL if how == signal.SIGKILL else 0)
    sent = [alert(sequence=number) for number in range(50)]
    for one in sent:
        sender.publish(ALERT, json.dumps(one))
    back = watch(url, *options, "--count", "50")
    assert back.process.wait(30) == 0
    assert [line["payload"] for line in back.of("alert")] == sent


def test_an_alert_that_comes_twice_is_shown_once(
    broker: Broker, watch: Start, sender: Collector, tmp_path: Path
) -> None:
    url, saved = f"mqtt://127.0.0.1:{broker.port}", tmp_path / "saved"
    watching = saving(url, saved, watch, sender)
    one, other = alert(newer={"key": 1}), alert()
    for body in (one, one, other):
        sender.publish(ALERT, json.dumps(body))
    until(lambda: len(watching.of("alert")) == 2, "two alerts")
    assert [line["payload"] for line in watching.of("alert")] == [one, other]
    assert watching.end() == 0
    again = watch(url, "--json", "--save", str(saved))
    ready(again, sender)
    last = alert()
    for body in (one, other, last):
        sender.publish(ALERT, json.dumps(body))
    until(lambda: again.of("alert"), "the new alert")
    assert [line["payload"] for line in again.of("alert")] == [last]


def test_alerts_and_heat_maps_are_saved_as_they_came(
    broker: Broker, watch: Start, sender: Collector, tmp_path: Path
) -> None:
    saved = tmp_path / "new" / "saved"
    watching = watch(f"mqtt://127.0.0.1:{broker.port}", "--json", "--save", str(saved))
    ready(watching, sender)
    body = alert(newer=True)
    sender.publish(ALERT, json.dumps(body))
    sender.publish(f"{ALERT}/{body['id']}/heatmap", JPEG)
    until(lambda: watching.of("heatmap"), "the heat map")
    folder = saved / "gate" / "door" / body["id"]
    assert Path(watching.of("alert")[0]["saved"]) == folder / f"0000-{body['event_id']}.json"
    assert json.loads((folder / f"0000-{body['event_id']}.json").read_text()) == body
    assert (folder / "heatmap.jpg").read_bytes() == JPEG
    assert len(list(folder.iterdir())) == 2


def test_killed_again_and_again_it_saves_every_alert(
    broker: Broker, watch: Start, sender: Collector, tmp_path: Path
) -> None:
    url, saved = f"mqtt://127.0.0.1:{broker.port}", tmp_path / "saved"
    watching = saving(url, saved, watch, sender)
    sent = [alert(sequence=number) for number in range(120)]
    for number, body in enumerate(sent):
        sender.publish(ALERT, json.dumps(body))
        if number % 40 == 20:
            watching.end(signal.SIGKILL)
            watching = watch(url, "--json", "--save", str(saved))
    until(lambda: len(list(saved.glob("gate/door/*/*.json"))) == len(sent), "every file")
    assert {json.loads(path.read_text())["event_id"] for path in saved.glob("gate/door/*/*.json")} == {
        body["event_id"] for body in sent
    }


def test_a_folder_that_takes_nothing_holds_the_alert_at_the_broker(
    broker: Broker, watch: Start, sender: Collector, tmp_path: Path
) -> None:
    url, saved = f"mqtt://127.0.0.1:{broker.port}", tmp_path / "saved"
    watching = saving(url, saved, watch, sender)
    (saved / "gate").write_text("in the way")
    sender.publish(ALERT, json.dumps(alert()))
    watching.until("trying until it can be saved")
    assert watching.end() == 0
    (saved / "gate").unlink()
    assert watch(url, "--json", "--save", str(saved), "--count", "1").process.wait(30) == 0
    assert len(list(saved.glob("gate/door/*/*.json"))) == 1


def test_nonsense_is_told_and_the_next_alert_shown_safely(
    broker: Broker, watch: Start, sender: Collector, tmp_path: Path
) -> None:
    url, saved = f"mqtt://127.0.0.1:{broker.port}", tmp_path / "saved"
    json_watch = watch(url, "--json", "--save", str(saved), "--client-id", "one")
    ready(json_watch, sender)
    lines = watch(url, "--client-id", "two", "--count", "1")
    lines.until("connected as two")
    for payload in HOSTILE.values():
        sender.publish(ALERT, payload)
    sender.publish(ALERT, b"x" * 20_000_000)
    sender.publish(f"{ALERT}/{uuid.uuid4()}/heatmap", b"<svg>")
    until(lambda: "connected as two" in lines.errors and "ignored" in lines.errors, "the subscription of the other")
    sender.publish(ALERT, json.dumps(alert(label="\x1b[2Jfire\r\n\ud800[red]")))
    until(lambda: json_watch.of("alert"), "the alert")
    assert json_watch.errors.count("ignored:") == len(HOSTILE) + 2
    assert lines.process.wait(30) == 0
    for text in (lines.output, lines.errors, json_watch.output, json_watch.errors):
        assert "\x1b" not in text
        assert "\r" not in text
    assert "\\x1b[2Jfire\\r\\n\\ud800[red]" in lines.output
    assert len(lines.output.splitlines()) == 1
    assert [path.name for path in saved.iterdir()] == ["gate"]
    assert not list(tmp_path.rglob("*escape*"))


def test_on_a_terminal_it_is_a_table(broker: Broker, sender: Collector, tmp_path: Path) -> None:
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "whycam", "watch", f"mqtt://127.0.0.1:{broker.port}"],
        stdout=inner,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200", "LINES": "50", "TERM": "xterm"},
    )
    os.close(inner)
    os.set_blocking(outer, False)
    shown = b""

    def has(text: bytes) -> bool:
        nonlocal shown
        with suppress(OSError):  # nothing there, or the other end has gone
            shown += os.read(outer, 65536)
        return text in shown

    try:
        until(lambda: has(b"connected as"), "the connection")
        body = alert(label="fi\x1b]0;re")
        until(lambda: sender.publish(ALERT, json.dumps(body)) or has(b"fi\\x1b]0;re"), "the alert")
        assert b"\x1b]0;" not in shown
        process.send_signal(signal.SIGINT)
        until(lambda: has(b"\0") or process.poll() is not None, "the end")
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        os.close(outer)


def test_a_broker_that_is_away_is_told_of_and_found_again(broker: Broker, watch: Start, tmp_path: Path) -> None:
    broker.stop()
    watching = watch(f"mqtt://127.0.0.1:{broker.port}", "--json")
    watching.until("connection refused; trying again")
    broker.start()
    with Collector(broker.port) as sender:
        ready(watching, sender)
        broker.restart()
        until(lambda: watching.errors.count("connected as") == 2, "the second connection")
    assert watching.end(signal.SIGINT) == 0


def test_a_wrong_password_ends_it_with_one_line(start_broker: Callable[..., Broker], watch: Start) -> None:
    broker = start_broker(passwords={"guard": "right"})
    url = f"mqtt://guard@127.0.0.1:{broker.port}"
    wrong = watch(url, WHYCAM_PASSWORD="wrong")
    assert wrong.process.wait(30) == 2
    assert [line for line in wrong.errors.splitlines() if not line.endswith("trying again")] == [
        "whycam: the broker refuses user 'guard': not authorized; check user name and password"
    ]
    assert watch(url, "--for", "0.5", WHYCAM_PASSWORD="right").process.wait(30) == 0


def test_a_second_signal_ends_it_where_nobody_reads(broker: Broker, sender: Collector) -> None:
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "whycam", "watch", f"mqtt://127.0.0.1:{broker.port}", "--json"],
        stdout=writer,
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    try:
        until(lambda: sender.publish(ALERT, json.dumps(alert())) or select.select([reader], [], [], 0)[0], "a line")
        for _ in range(10):
            sender.publish(ALERT, json.dumps(alert(newer="x" * 100_000)))  # more than a pipe holds

        def ended() -> bool:
            process.send_signal(signal.SIGTERM)
            return process.poll() is not None

        until(ended, "the end")
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def test_two_of_the_same_name_do_not_fight(broker: Broker) -> None:
    watcher = Watcher(Server("127.0.0.1", broker.port), "name", LineView(), root="whycam")
    watcher.disconnected("another client has taken over the session 'name'")
    with pytest.raises(InputError, match="give each its own --client-id"):
        watcher.run(seconds=30)


def test_two_of_the_same_name_are_told(broker: Broker, watch: Start) -> None:
    """Where the broker does not say that the session was taken over."""
    first, second = (watch(f"mqtt://127.0.0.1:{broker.port}") for _ in range(2))
    until(lambda: any("--client-id" in one.errors for one in (first, second)), "a word on the names", seconds=60)


def test_it_follows_over_tls_with_a_certificate(start_broker: Callable[..., Broker], watch: Start) -> None:
    broker = start_broker(client_certificates=True)
    own = ("--certificate-file", str(broker.client_certificate), "--key-file", str(broker.client_key))
    watching = watch(f"mqtts://127.0.0.1:{broker.port}", "--ca-file", str(broker.ca_file), *own)
    watching.until("connected as")
    assert watching.end() == 0


def test_it_needs_neither_opencv_nor_onnx_runtime() -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('cv2', 'onnxruntime', 'matplotlib')))\n"
        "sys.argv = ['whycam', 'watch', '--help']\n"
        "from whycam.commands import main\n"
        "import whycam.watch.session\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "--save" in done.stdout


def test_a_shadows_disagreement_is_shown_and_saved_with_both_pictures(
    broker: Broker, watch: Start, sender: Collector, tmp_path: Path
) -> None:
    url, saved = f"mqtt://127.0.0.1:{broker.port}", tmp_path / "saved"
    watching = watch(url, "--json", "--save", str(saved), "--client-id", "one")
    ready(watching, sender)
    lines = watch(url, "--client-id", "two")
    lines.until("connected as two")
    body = disagreement()
    until(
        lambda: (
            sender.publish("whycam/gate/door/shadow/disagreement", json.dumps(body))
            or "raised by the live bundle alone, live 0.910 of 0.5, candidate 0.410 of 0.5" in lines.output
        ),
        "the line",
    )
    assert lines.output.count("shadow:") == 1, "once, however often it comes"
    until(lambda: watching.of("disagreement"), "the disagreement")
    folder = saved / "gate" / "door" / body["id"]
    assert Path(watching.of("disagreement")[0]["saved"]) == folder / "disagreement.json"
    assert json.loads((folder / "disagreement.json").read_text()) == body
    assert (folder / "live.jpg").read_bytes() == JPEG
    assert not (folder / "candidate.jpg").exists(), "what is no picture is not kept as one"
