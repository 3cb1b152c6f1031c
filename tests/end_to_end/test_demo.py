"""`whycam demo`: the whole road, at full size, as a stranger runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import whycam
from whycam_export.demo.live import mosquitto

# The demo takes three minutes on two idle cores; busy ones must not fail it.
pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("demo") / "shown"
    command = [sys.executable, "-m", "whycam", "demo", "-o", str(folder)]
    return folder, subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_demo_is_right_and_says_so(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, run = demo

    assert run.returncode == 0, run.stderr
    figures = json.loads((folder / "figures.json").read_text())
    assert figures["window_accuracy"] >= 0.95
    assert figures["peak_on_anomaly"] >= 0.9
    assert figures["peak_on_anomaly"] > 3 * figures["peak_on_anomaly_by_chance"]
    printed = [float(x) for x in re.findall(r"^(?:window accuracy|peaks on the anomaly) +(\S+)", run.stdout, re.M)]
    assert printed == pytest.approx([figures["window_accuracy"], figures["peak_on_anomaly"]], abs=6e-4)


def test_it_judges_at_least_two_dozen_clips_of_all_classes(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    clips = json.loads((demo[0] / "figures.json").read_text())["clips"]

    assert len(clips) >= 24
    assert {clip["label"] for clip in clips} == {"normal", "fight", "fire", "shooting"}


def test_it_leaves_what_was_made(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = demo

    alerted = [clip for clip in json.loads((folder / "figures.json").read_text())["clips"] if clip["alert"]]
    assert alerted
    for clip in alerted:
        place = folder / "clips" / clip["clip"]
        with np.load(place / "heatmaps.npz") as explained:
            assert explained["heatmaps"].shape[2:] == (14, 14)
        assert (place / "why.png").stat().st_size > 10_000
        decisions = [json.loads(line) for line in (place / "decisions.jsonl").read_text().splitlines()]
        assert any(decision["alert"] for decision in decisions)
    assert (folder / "index.html").is_file()


@pytest.mark.skipif(mosquitto() is None, reason="needs Mosquitto (Debian: mosquitto)")
def test_it_ends_with_an_alert_that_was_received(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, run = demo

    live = json.loads((folder / "figures.json").read_text())["live"]
    assert live["payload"]["phase"] == "raised"
    assert live["payload"]["label"] == live["truth"]
    assert (folder / live["heatmap"]).read_bytes().startswith(b"\xff\xd8")
    (printed,) = re.findall(r"(\S+) s after the threshold", run.stdout)
    assert float(printed) == pytest.approx(live["delay_seconds"], abs=0.006)
    page = (folder / "index.html").read_text()
    assert live["payload"]["event_id"] in page
    assert live["heatmap"] in page


def test_its_bundle_loads(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    detector = whycam.load(demo[0] / "demo.whycam")

    assert [cam.name for cam in detector.manifest.cams] == ["block4_conv4"]


def test_a_folder_of_something_else_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    command = [sys.executable, "-m", "whycam", "demo", "-o", str(tmp_path)]

    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 2
    assert len(run.stderr.strip().splitlines()) == 1
    assert "choose another with -o" in run.stderr


def test_a_seed_out_of_range_is_refused_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "whycam", "demo", "-o", str(tmp_path), "--seed", "1000"]

    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 2
    assert len(run.stderr.strip().splitlines()) == 1
    assert "--seed 1000" in run.stderr
