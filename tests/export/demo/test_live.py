"""The demo's live end: real broker, service and subscriber, on a model that knows colours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import cv2
import pytest
from rich.console import Console

from tests.runtime import tiny_bundle
from tests.runtime.mqtt.collector import until
from tests.runtime.service.running import write_video
from whycam.explain import METHOD
from whycam_export.demo import live

needs_broker = pytest.mark.skipif(live.mosquitto() is None, reason="needs Mosquitto (Debian: mosquitto)")


@needs_broker
def test_the_alert_and_its_heat_map_arrive(tmp_path: Path) -> None:
    bundle = tiny_bundle.build(tmp_path / "colours.whycam")
    clip = write_video(tmp_path / "scene.mp4", (("quiet", 20), ("fight", 20)))
    told = StringIO()

    received = live.watch_live(bundle, clip, "fight", tmp_path / "live", Console(file=told))

    assert (received.payload["phase"], received.payload["label"]) == ("raised", "fight")
    assert received.payload["explanation"]["method"] == METHOD
    assert received.crossed < received.arrived
    assert cv2.imread(str(tmp_path / received.heatmap)).shape == (48, 64, 3)
    assert [line.split()[1] for line in received.lines] == ["raised", "cleared"]
    assert "raised fight" in told.getvalue()
    assert received.text().startswith("{")


@needs_broker
def test_no_alert_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_PATIENCE", 4.0)
    bundle = tiny_bundle.build(tmp_path / "colours.whycam")
    clip = write_video(tmp_path / "scene.mp4", (("quiet", 20),))

    with pytest.raises(live.LiveError, match=r"no alert on scene\.mp4 came; see the logs"):
        live.watch_live(bundle, clip, "fight", tmp_path / "live", Console(file=StringIO()))

    assert "ready: 1 cameras" in (tmp_path / "live" / "service.log").read_text()


@needs_broker
def test_a_service_that_does_not_start_is_no_success(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "scene.mp4", (("quiet", 20),))

    with pytest.raises(live.LiveError, match="see the logs"):
        live.watch_live(tmp_path / "none.whycam", clip, "fight", tmp_path / "live", Console(file=StringIO()))

    assert "no such bundle" in (tmp_path / "live" / "service.log").read_text()


def test_without_a_broker_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "mosquitto", lambda: None)

    with pytest.raises(live.LiveError, match="apt-get install mosquitto"):
        live.watch_live(tmp_path, tmp_path / "scene.mp4", "fight", tmp_path / "live", Console(file=StringIO()))


@needs_broker
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_process_outlives_a_demo_that_is_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    bundle = tiny_bundle.build(tmp_path / "colours.whycam")
    clip = write_video(tmp_path / "scene.mp4", (("quiet", 20),))
    script = (
        "import signal, sys; from pathlib import Path; from rich.console import Console\n"
        # Where the tests run in the background of a shell, these are ignored, and that is inherited.
        "signal.signal(signal.SIGINT, signal.default_int_handler); signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "from whycam_export.demo import live\n"
        "live.watch_live(*map(Path, sys.argv[1:3]), 'fight', Path(sys.argv[3]), Console())"
    )
    words = [sys.executable, "-c", script, str(bundle), str(clip), str(tmp_path / "live")]
    demo = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started: list[int] = []
    try:
        log = tmp_path / "live" / "service.log"
        until(lambda: log.exists() and "ready" in log.read_text(), "the service")
        children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children")
        started = [int(word) for word in children.read_text().split()]
        demo.send_signal(number)

        assert demo.wait(60) != 0
    finally:
        demo.kill()
        demo.wait()
        left = [pid for pid in started if Path(f"/proc/{pid}/cmdline").exists()]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    assert len(started) == 3
    assert left == []
