"""The demo's end, live: a broker, the service on a clip it has never seen, and a subscriber that hears of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from queue import Empty, Queue
from types import FrameType
from typing import Any

from rich.console import Console
from rich.live import Live as Screen
from rich.text import Text

from whycam.errors import WhycamError

DEVICE = "demo"
CAMERA = "street"
ALLOWED_SECONDS = 2.0
"""From the moment at which the score crosses the threshold to the alert at the subscriber."""
MISSING = "no Mosquitto here for the live part; `apt-get install mosquitto` brings one"
_PATIENCE = 60.0
_HOST = "127.0.0.1"
_CONFIG = """\
# What the demo's service ran with. `whycam replay {clip} -c {name}` shows what it would raise on a recording.
device = "{device}"
state_directory = "state"

[broker]
host = "127.0.0.1"
port = {port}
score_seconds = 0.1

[metrics]
port = 0

[evidence]
clip_seconds = 4
min_free_bytes = 0

[[camera]]
name = "{camera}"
source = {source}
bundle = {bundle}

[camera.alert]
minimum_seconds = 0.2
merge_seconds = 1
signal_lost_seconds = 2
"""


class LiveError(WhycamError):
    """The live part did not do what it shows."""


@dataclass(frozen=True)
class Received:
    """What the subscriber heard: the payload of the first raised alert, and when; times in seconds since the epoch."""

    clip: str
    truth: str
    payload: dict[str, Any]
    crossed: float
    """When the score reached the threshold, as the alert says."""
    arrived: float
    heatmap: str
    """The file that `whycam watch` saved, relative to the demo's folder."""
    lines: tuple[str, ...]
    """All alerts, as lines: phase, class, score."""

    @property
    def delay(self) -> float:
        """Seconds from crossing the threshold to arriving."""
        return self.arrived - self.crossed

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "delay_seconds": round(self.delay, 3)}

    def text(self) -> str:
        """The payload, laid out for reading."""
        return json.dumps(self.payload, indent=2)


def mosquitto() -> str | None:
    """The broker's program; None where there is none."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def watch_live(bundle: Path, clip: Path, truth: str, folder: Path, console: Console) -> Received:
    """Run broker, service and `whycam watch` until the alert on `clip` and its heat map have arrived.

    Leaves in `folder` the configuration `whycam.toml`, the logs, what the service keeps (`state`) and what the
    subscriber saved (`received`). `truth` is the class that the clip shows.

    Raises LiveError where something does not start, or the alert does not come.
    """
    broker = mosquitto()
    if broker is None:
        raise LiveError(MISSING)
    folder.mkdir()
    with _ended_in_order(), ExitStack() as exits:
        port = _start_broker(broker, folder, exits)
        heard: Queue[tuple[float, dict[str, Any]]] = Queue()
        url = f"mqtt://{_HOST}:{port}/{DEVICE}"
        watcher = _start(_whycam("watch", url, "--json", "--save", folder / "received"), folder / "watch.log", exits)
        threading.Thread(target=_listen, args=(watcher, heard), daemon=True).start()
        _until_subscribed(folder / "mosquitto.log", watcher)
        config = folder / "whycam.toml"
        config.write_text(
            _CONFIG.format(
                clip=clip.name,
                name=config.name,
                device=DEVICE,
                camera=CAMERA,
                port=port,
                source=json.dumps(str(clip.resolve())),
                bundle=json.dumps(str(bundle.resolve())),
            ),
            encoding="utf-8",
        )
        service = _start(_whycam("run", "-c", config), folder / "service.log", exits)
        return _follow(heard, (service, watcher), clip, truth, folder, console)


def _follow(
    heard: Queue[tuple[float, dict[str, Any]]],
    processes: Sequence[subprocess.Popen[str]],
    clip: Path,
    truth: str,
    folder: Path,
    console: Console,
) -> Received:
    raised: tuple[float, dict[str, Any]] | None = None
    heatmap: str | None = None
    lines: list[str] = []
    deadline = time.monotonic() + _PATIENCE
    with _screen(console) as show:
        while not (raised and heatmap and any(" cleared " in line for line in lines)):
            if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
                break
            try:
                arrived, line = heard.get(timeout=0.2)
            except Empty:
                continue
            payload = line.get("payload") or {}
            if line["kind"] == "score":
                show(_score_line(payload))
            elif line["kind"] == "alert":
                if payload["phase"] == "raised" and raised is None:
                    raised = arrived, payload
                lines.append(f"{payload['time']} {payload['phase']} {payload['label']} {payload['score']:.3f}")
                style = "bold red" if payload["phase"] == "raised" else "default"
                console.print(f"  {CAMERA}: {payload['phase']} {payload['label']} {payload['score']:.2f}", style=style)
            elif line["kind"] == "heatmap" and raised and line["id"] == raised[1]["id"] and line["saved"]:
                heatmap = str(Path(line["saved"]).resolve().relative_to(folder.parent.resolve()))
    if raised is None or heatmap is None:
        what = "alert" if raised is None else "heat map"
        raise LiveError(f"live: no {what} on {clip.name} came; see the logs in {folder}")
    onset = datetime.fromisoformat(raised[1]["onset"].replace("Z", "+00:00")).timestamp()
    return Received(clip.name, truth, raised[1], onset, raised[0], heatmap, tuple(lines))


def _listen(watcher: subprocess.Popen[str], heard: Queue[tuple[float, dict[str, Any]]]) -> None:
    assert watcher.stdout is not None
    for line in watcher.stdout:
        heard.put((time.time(), json.loads(line)))


def _score_line(payload: dict[str, Any]) -> Text:
    if not payload["warm"]:
        return Text(f"  {CAMERA}: the window fills")
    label = payload["label"]
    score = payload["scores"][label]
    return Text(f"  {CAMERA}: {label:>10} {'█' * round(score * 30):<30} {score:.2f}", "red" if payload["alert"] else "")


@contextmanager
def _screen(console: Console) -> Iterator[Callable[[Text], None]]:
    if not console.is_terminal:
        yield lambda _: None
        return
    with Screen(Text(""), console=console, transient=True) as screen:
        yield screen.update


def _whycam(*words: object) -> list[str]:
    return [sys.executable, "-m", "whycam", *(str(word) for word in words)]


def _start(command: Sequence[str], log: Path, exits: ExitStack) -> subprocess.Popen[str]:
    """Start a process that ends with `exits`; stdout is the caller's to read, stderr goes to `log`."""
    errors = exits.enter_context(log.open("w", encoding="utf-8"))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, text=True)
    exits.callback(_end, process)
    return process


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let the signals that would end us at once unwind as Ctrl-C does, so that no process is left behind."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # as under nohup
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
    finally:
        # Also where a second Ctrl-C interrupts the waiting.
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _start_broker(program: str, folder: Path, exits: ExitStack) -> int:
    with socket.socket() as free:
        free.bind((_HOST, 0))
        port = int(free.getsockname()[1])
    config = folder / "mosquitto.conf"
    log = (folder / "mosquitto.log").resolve()
    config.write_text(
        f"listener {port} {_HOST}\nallow_anonymous true\npersistence false\n"
        f"log_dest file {log}\nlog_type all\n" + ("user root\n" if _is_root() else ""),
        encoding="utf-8",
    )
    broker = _start([program, "-c", str(config)], folder / "mosquitto.err", exits)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and broker.poll() is None:
        if _answers(port):
            return port
        time.sleep(0.05)
    raise LiveError(f"live: Mosquitto does not start; see {folder / 'mosquitto.err'}")


def _answers(port: int) -> bool:
    try:
        socket.create_connection((_HOST, port), 1).close()
    except OSError:
        return False
    return True


def _is_root() -> bool:
    # Started by root, Mosquitto would give up its rights, and could not write its log here.
    return os.geteuid() == 0


def _until_subscribed(log: Path, watcher: subprocess.Popen[str]) -> None:
    """Wait until the broker knows the subscriber: it could miss the first scores else."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and watcher.poll() is None:
        if log.exists() and "Sending SUBACK" in log.read_text(encoding="utf-8", errors="replace"):
            return
        time.sleep(0.05)
    raise LiveError(f"live: `whycam watch` does not subscribe; see {log.with_name('watch.log')}")
