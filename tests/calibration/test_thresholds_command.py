"""`whycam calibrate thresholds`, from real videos to a bundle that the service follows."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

import whycam as library
from tests.runtime import tiny_bundle
from whycam.alerts.replay import replay
from whycam.bundle import Bundle
from whycam.config.models import Camera
from whycam.detect import Model
from whycam.sources import open_source

BLUE, GREEN, RED = (255, 0, 0), (0, 255, 0), (0, 0, 255)
Whycam = Callable[..., object]


def film(path: Path, colours: Sequence[tuple[int, int, int]], seed: int = 0) -> Path:
    """A video at 10 frames a second, its colours a little unsteady, as a camera's are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for colour in colours:
        shade = np.clip(np.array(colour) * random.uniform(0.55, 1) + random.uniform(0, 90, 3), 0, 255)
        writer.write(np.full((48, 64, 3), shade, np.uint8))
    writer.release()
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled clips of fights and of nothing, none of fires; in the first fight it begins after a second."""
    root = tmp_path_factory.mktemp("clips")
    for number in range(6):
        film(root / "fight" / f"{number}.mp4", [BLUE] * 10 + [GREEN] * 14, number)
        film(root / "normal" / f"{number}.mp4", [BLUE] * 20, 50 + number)
    film(root / "fight" / "short.mp4", [GREEN] * 3, 9)
    rows = [f"fight/{number}.mp4,1.0,2.4" for number in range(6)]
    (root / "ranges.csv").write_text("\n".join(["path,start,end", *rows]) + "\n")
    return root


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute in which nothing happens, but once a flash of green."""
    root = tmp_path_factory.mktemp("normal")
    film(root / "day" / "yard.mp4", [BLUE] * 150 + [GREEN] + [BLUE] * 250)
    film(root / "gate.mp4", [BLUE] * 200, 1)
    return root


@pytest.fixture(scope="module")
def calibrated(
    clips: Path, normal: Path, built_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, str]:
    """A bundle that was calibrated on all of it, and what that printed on stdout and stderr."""
    import subprocess
    import sys

    path = Path(shutil.copytree(built_bundle, tmp_path_factory.mktemp("bundle") / "colours.whycam"))
    words = ["--footage", clips, "--normal-footage", normal, "--false-alarms-per-hour", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "whycam", "calibrate", "thresholds", str(path), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return path, done.stdout, done.stderr


def figures(path: Path) -> dict:
    return json.loads((path / "calibration.thresholds.json").read_text())["figures"]


def camera(path: Path, **settings: object) -> Camera:
    return Camera.model_validate({"name": "gate", "source": "rtsp://gate/1", "bundle": path, **settings})


# -- what it leaves --


def test_temperature_thresholds_and_rules_are_in_the_manifest(calibrated: tuple[Path, str, str]) -> None:
    path, _, _ = calibrated
    manifest, found = Bundle.open(path).manifest, figures(path)["classes"]

    assert manifest.thresholds == {name: found[name]["raise"] for name in ("fight", "fire")}
    for name, rule in manifest.alert_rules.items():
        assert (rule.clear, rule.minimum_seconds) == (found[name]["clear"], found[name]["minimum_seconds"])
        assert 0.5 * manifest.thresholds[name] <= rule.clear <= 0.95 * manifest.thresholds[name]
    assert manifest.temperature == figures(path)["temperature"]["value"] != 1
    assert library.load(path).manifest == manifest


def test_the_service_raises_on_the_footage_just_what_the_report_counts(
    calibrated: tuple[Path, str, str], clips: Path, normal: Path
) -> None:
    path, _, _ = calibrated
    model = Model(Bundle.open(path))
    seen = [replay(model, camera(path), open_source(str(video))).spans() for video in sorted(normal.rglob("*.mp4"))]
    events = [
        [span for span in replay(model, camera(path), open_source(str(video))).spans() if span.label == "fight"]
        for video in sorted(clips.glob("fight/[0-9].mp4"))
    ]
    found = figures(path)["classes"]["fight"]

    assert sum(map(len, seen)) == figures(path)["chosen_on"]["alarms"] + figures(path)["checked_on"]["alarms"] == 0
    # The short clip is counted by what would have come of it, the others by what did.
    assert found["detected"] - 1 == sum(map(bool, events)) == 6
    assert (found["events"], found["held"], found["beginning_known"]) == (7, 1, 6)
    delays = sorted(spans[0].raised - 1.0 for spans in events)
    assert found["delay_median"] == pytest.approx(np.median([*delays, 0.3 + found["minimum_seconds"]]), abs=0.06)


def test_the_configuration_overrules_what_was_found(calibrated: tuple[Path, str, str], clips: Path) -> None:
    path, _, _ = calibrated
    model, video = Model(Bundle.open(path)), str(clips / "fight" / "0.mp4")

    (plain,) = replay(model, camera(path), open_source(video)).spans()
    (quick,) = replay(model, camera(path, threshold=0.3, alert={"minimum_seconds": 0}), open_source(video)).spans()

    assert plain.raised - plain.onset == pytest.approx(figures(path)["classes"]["fight"]["minimum_seconds"], abs=0.11)
    assert quick.raised == quick.onset < plain.raised


def test_a_flash_in_normal_footage_is_waited_out_instead_of_priced_in(calibrated: tuple[Path, str, str]) -> None:
    path, _, _ = calibrated
    found = figures(path)["classes"]["fight"]
    at_once = next(trial for trial in found["tried"] if trial["minimum_seconds"] == 0)

    assert found["minimum_seconds"] >= 0.5
    assert at_once["highest_normal"] > found["highest_normal"]


def test_what_is_not_promised_and_what_is_not_known_is_said(calibrated: tuple[Path, str, str]) -> None:
    path, stdout, stderr = calibrated
    told = " ".join(stdout.split())

    assert figures(path)["verdict"] == "open"
    assert "2 false alarms per hour is not promised" in told
    assert "It takes 110 min held back" in told
    assert "there is no clip of 'fire'" in told
    assert "there is no clip of 'fight'" not in told
    assert stderr.count("\n") == 1
    assert "calibration.thresholds.html" in stderr


def test_each_figure_stands_with_how_many_it_comes_from(calibrated: tuple[Path, str, str]) -> None:
    path, _, _ = calibrated
    found = figures(path)

    assert found["clips"] == {"normal": 6, "fight": 7, "fire": 0}
    assert found["normal_videos"] == 8
    assert found["padded"] == 1
    assert found["classes"]["fight"]["windows"]["positives"] > 60
    assert found["classes"]["fight"]["clips"] == {"roc_auc": 1, "average_precision": 1, "positives": 7, "negatives": 6}
    assert found["classes"]["fire"]["clips"] is None
    # What fills a window, and what lies between the two parts of a video, is not counted as watched.
    watched = (400 - 3) + (200 - 3) + 6 * (20 - 3)
    hours = found["chosen_on"]["hours"] + found["checked_on"]["hours"]
    assert watched - tiny_bundle.T <= round(hours * 36000) <= watched


def test_the_report_carries_its_pictures_and_is_shown_again(calibrated: tuple[Path, str, str], whycam: Whycam) -> None:
    path, stdout, _ = calibrated
    page = (path / "calibration.thresholds.html").read_text()

    shown = whycam("calibrate", "report", path)

    assert page.count('src="data:image/png') == 5
    assert not re.findall(r'(?:href|src)="(?!data:)', page)
    assert "Thresholds of colours 1" in shown.stdout
    assert "Operating points" in stdout


def test_calibrating_again_finds_the_same(
    calibrated: tuple[Path, str, str], clips: Path, normal: Path, whycam: Whycam, tmp_path: Path
) -> None:
    path, _, _ = calibrated
    again = Path(shutil.copytree(path, tmp_path / "again.whycam"))

    done = whycam(
        "calibrate", "thresholds", again, "--footage", clips, "--normal-footage", normal, "--false-alarms-per-day", "48"
    )

    assert done.returncode == 0, done.stderr
    before, after = Bundle.open(path).manifest, Bundle.open(again).manifest
    assert (after.thresholds, after.alert_rules, after.temperature) == (
        before.thresholds,
        before.alert_rules,
        before.temperature,
    )


def test_normal_footage_alone_sets_thresholds_and_names_each_class(bundle: Path, normal: Path, whycam: Whycam) -> None:
    done = whycam("calibrate", "thresholds", bundle, "--normal-footage", normal)

    assert done.returncode == 0, done.stderr
    manifest = Bundle.open(bundle).manifest
    assert manifest.temperature == 1
    assert {rule.minimum_seconds for rule in manifest.alert_rules.values()} == {0.5}
    assert min(manifest.thresholds.values()) >= 0.5
    told = " ".join(done.stdout.split())
    assert all(f"there is no clip of '{name}'" in told for name in manifest.anomalies)
    assert "1 false alarm per day is not promised" in told
    assert figures(bundle)["classes"]["fight"]["windows"] is None


def test_a_clip_that_cannot_be_read_is_named_and_the_rest_goes_on(
    bundle: Path, clips: Path, whycam: Whycam, tmp_path: Path
) -> None:
    shutil.copytree(clips, tmp_path / "clips")
    (tmp_path / "clips" / "fight" / "torn.mp4").write_bytes(b"no video")

    done = whycam("calibrate", "thresholds", bundle, "--footage", tmp_path / "clips")

    assert done.returncode == 0, done.stderr
    assert "left out:" in done.stderr
    assert "torn.mp4: not a video" in done.stderr
    assert "1 of 14 videos could not be read: fight/torn.mp4" in " ".join(done.stdout.split())


def test_clips_that_training_has_seen_are_left_out(bundle: Path, clips: Path, whycam: Whycam, tmp_path: Path) -> None:
    shutil.copytree(clips, tmp_path / "clips")
    rows = [
        f"{label}/{n}.mp4,{label},{n},{'train' if n < 3 else 'test'}" for label in ("fight", "normal") for n in range(6)
    ]
    (tmp_path / "clips" / "manifest.csv").write_text("\n".join(["path,label,source,split", *rows]) + "\n")

    done = whycam("calibrate", "thresholds", bundle, "--footage", tmp_path / "clips")

    assert done.returncode == 0, done.stderr
    assert "6 clips were left out" in " ".join(done.stdout.split())
    assert figures(bundle)["clips"] == {"normal": 3, "fight": 3, "fire": 0}


# -- what it refuses --


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to calibrate on"),
        (("--normal-footage", "{empty}"), "no videos found"),
        (("--normal-footage", "{normal}", "--false-alarms-per-day", "0"), "0 false alarms cannot be kept to"),
        (("--normal-footage", "{normal}", "--false-alarms-per-hour", "-1"), "-1 false alarms cannot be kept to"),
        (("--normal-footage", "{normal}", "--false-alarms-per-hour", "nan"), "cannot be kept to"),
        (
            ("--normal-footage", "{normal}", "--false-alarms-per-hour", "1", "--false-alarms-per-day", "1"),
            "give one of them",
        ),
        (("--normal-footage", "{normal}", "--held-back", "1"), "--held-back 1: give a share"),
        (("--normal-footage", "{torn}"), "none of the 2 videos can be read"),
        (("--footage", "{fights}"), "no clip of the normal class 'normal'"),
        (
            ("--footage", "{fights}", "--normal-footage", "{torn}"),
            "of the videos in which nothing happens none can be read",
        ),
        (("--footage", "{strange}"), "class 'flood' is not one of bundle 'colours', which knows normal, fight, fire"),
        (("--normal-footage", "{normal}", "--precision", "int8"), "precision 'int8'"),
        (("--normal-footage", "{normal}", "--provider", "abacus"), "execution provider 'abacus'"),
    ],
)
def test_what_it_cannot_work_with_is_one_line_and_changes_nothing(
    arguments: tuple[str, ...], words: str, bundle: Path, clips: Path, normal: Path, whycam: Whycam, tmp_path: Path
) -> None:
    folders = {name: tmp_path / name for name in ("empty", "torn", "fights", "strange")}
    for folder in folders.values():
        folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folders["torn"] / name).write_bytes(b"no video")
    for folder, label in ((folders["fights"], "fight"), (folders["strange"], "flood")):
        shutil.copytree(clips / "fight", folder / label)
    before = (bundle / "manifest.json").read_bytes()

    done = whycam("calibrate", "thresholds", bundle, *(one.format(normal=normal, **folders) for one in arguments))

    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert (bundle / "manifest.json").read_bytes() == before


def test_a_bundle_that_is_not_there_is_named(normal: Path, whycam: Whycam, tmp_path: Path) -> None:
    done = whycam("calibrate", "thresholds", tmp_path / "none.whycam", "--normal-footage", normal)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no such bundle" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_bundle_that_cannot_be_written_to_is_named(bundle: Path, normal: Path, whycam: Whycam) -> None:
    bundle.chmod(stat.S_IRUSR | stat.S_IXUSR)
    done = whycam("calibrate", "thresholds", bundle, "--normal-footage", normal)
    bundle.chmod(stat.S_IRWXU)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot be written" in done.stderr
