"""What a configuration would have raised on a recording."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime import tiny_bundle
from tests.runtime.service.running import write_video
from whycam.alerts.judge import FrameJudge
from whycam.alerts.replay import replay
from whycam.bundle import Bundle
from whycam.config.file import load_config
from whycam.detect import Model
from whycam.sources import open_source

SCENES = (("quiet", 20), ("fight", 30), ("quiet", 8), ("fight", 6), ("quiet", 20), ("fire", 10))
CONFIG = """
device = "post"
[[camera]]
name = "gate"
source = "rtsp://gate/1"
bundle = "colours.whycam"
[camera.alert]
minimum_seconds = 0.3
merge_seconds = 0.3
cool_down_seconds = 2
update_seconds = 1
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with one camera; the recording is `scenes.mp4` beside it."""
    tiny_bundle.build(tmp_path / "colours.whycam")
    write_video(tmp_path / "scenes.mp4", SCENES)
    path = tmp_path / "whycam.toml"
    path.write_text(CONFIG)
    return path


def whycam(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `whycam replay`."""
    words = [sys.executable, "-m", "whycam", "replay", *(str(one) for one in arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120)


def test_the_episodes_are_those_that_the_service_judges(config: Path) -> None:
    camera = load_config(config).cameras[0]
    model = Model(Bundle.open(camera.bundle))
    video = str(config.with_name("scenes.mp4"))
    judge = FrameJudge(model, camera)
    expected = [event for frame in open_source(video) for event in judge.push(frame.image, frame.time)[1]]
    made = replay(model, camera, open_source(video))
    assert [(e.phase, e.time, e.reason, e.episode.label, e.episode.sequence) for e in made.events] == [
        (e.phase, e.time, e.reason, e.episode.label, e.episode.sequence) for e in expected
    ]
    assert made.suppressed == 1
    fight, fire = made.spans()
    assert (fight.label, fight.reason, fight.updates) == ("fight", "below-threshold", 2)
    assert fight.onset == pytest.approx(2.0, abs=0.11)
    assert fight.raised == pytest.approx(fight.onset + 0.3, abs=0.01)
    assert fight.seconds == pytest.approx(3.0, abs=0.21)
    assert (fire.label, fire.ended, fire.cleared, fire.reason) == ("fire", None, None, None)


def test_the_command_prints_draws_and_tells(config: Path, tmp_path: Path) -> None:
    done = whycam(config.with_name("scenes.mp4"), "-c", config, "-o", tmp_path / "plot.png", "--json")
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["label"], first["reason"], second["label"]) == ("fight", "below-threshold", "fire")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert "1 more held back by cool_down_seconds" in done.stderr

    table = whycam(config.with_name("scenes.mp4"), "-c", config)
    assert "below-threshold" in table.stdout
    assert "the recording's end" in table.stdout


def test_a_recording_without_alerts_says_so(config: Path) -> None:
    quiet = write_video(config.with_name("quiet.mp4"), (("quiet", 20),))
    assert whycam(quiet, "-c", config).stdout == "Nothing would have been raised.\n"


def test_what_it_cannot_work_with_is_one_line(config: Path, tmp_path: Path) -> None:
    video = config.with_name("scenes.mp4")
    two = tmp_path / "two.toml"
    two.write_text(CONFIG + CONFIG[CONFIG.index("[[camera]]") :].replace('"gate"', '"yard"'))
    for arguments, words in (
        ((tmp_path / "none.mp4", "-c", config), "no such file"),
        (("rtsp://camera/1", "-c", config), "has no end"),
        ((video, "-c", tmp_path / "none.toml"), "cannot be read"),
        ((video, "-c", two), "name one with --camera: gate, yard"),
        ((video, "-c", two, "--camera", "roof"), "has gate, yard"),
        ((video, "-c", config, "-o", tmp_path / "none" / "plot.png"), "there is no folder"),
    ):
        done = whycam(*arguments)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
