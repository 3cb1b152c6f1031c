"""`whycam calibrate thresholds`, from real videos to a bundle that the service follows."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

import whycam as library
from tests.runtime import tiny_bundle
from whycam.alerts.replay import replay
from whycam.bundle import Bundle, revision
from whycam.config.models import Camera
from whycam.detect import Model
from whycam.errors import BundleError, WhycamError
from whycam.sources import open_source
from whycam_calibration.commands.thresholds import thresholds

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
    """Labelled clips of fights and of nothing, none of fires; six fights begin after a second, four cannot be seen."""
    root = tmp_path_factory.mktemp("clips")
    for number in range(6):
        film(root / "fight" / f"{number}.mp4", [BLUE] * 10 + [GREEN] * 14, number)
        film(root / "normal" / f"{number}.mp4", [BLUE] * 20, 50 + number)
    film(root / "fight" / "short.mp4", [GREEN] * 3, 9)
    for number in range(4):
        film(root / "fight" / f"unseen{number}.mp4", [BLUE] * 20, 10 + number)
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


@dataclass(frozen=True)
class Done:
    """A calibration: the bundle, and what it printed."""

    path: Path
    stdout: str
    stderr: str

    @property
    def told(self) -> str:
        return " ".join(self.stdout.split())

    @property
    def figures(self) -> dict:
        return json.loads((self.path / "calibration.thresholds.json").read_text())["figures"]


def calibrate(path: Path, **options: object) -> Done:
    """`whycam calibrate thresholds`, in this process: a process for each would only be slow."""
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        thresholds(path, **options)
    return Done(path, stdout.getvalue(), stderr.getvalue())


@pytest.fixture(scope="module")
def calibrated(clips: Path, normal: Path, built_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A bundle that was calibrated on all of it."""
    path = Path(shutil.copytree(built_bundle, tmp_path_factory.mktemp("bundle") / "colours.whycam"))
    return calibrate(path, footage=clips, normal_footage=[normal], false_alarms_per_hour=2)


def camera(path: Path, **settings: object) -> Camera:
    return Camera.model_validate({"name": "gate", "source": "rtsp://gate/1", "bundle": path, **settings})


# -- what it leaves --


def test_temperature_thresholds_and_rules_are_in_the_manifest(calibrated: Done) -> None:
    manifest, found = Bundle.open(calibrated.path).manifest, calibrated.figures["classes"]

    assert manifest.thresholds == {name: found[name]["raise"] for name in ("fight", "fire")}
    for name, rule in manifest.alert_rules.items():
        assert (rule.clear, rule.minimum_seconds) == (found[name]["clear"], found[name]["minimum_seconds"])
        assert 0.5 * manifest.thresholds[name] <= rule.clear <= 0.95 * manifest.thresholds[name]
    assert manifest.temperature == calibrated.figures["temperature"]["value"] != 1
    assert library.load(calibrated.path).manifest == manifest


def test_the_service_raises_on_the_footage_just_what_the_report_counts(
    calibrated: Done, clips: Path, normal: Path
) -> None:
    path = calibrated.path
    model = Model(Bundle.open(path))
    seen = [replay(model, camera(path), open_source(str(video))).spans() for video in sorted(normal.rglob("*.mp4"))]
    events = [
        [span for span in replay(model, camera(path), open_source(str(video))).spans() if span.label == "fight"]
        for video in sorted(clips.glob("fight/[0-9].mp4"))
    ]
    found = calibrated.figures["classes"]["fight"]

    assert sum(map(len, seen)) == sum(calibrated.figures[part]["alarms"] for part in ("chosen_on", "checked_on")) == 0
    # The short clip is counted by what would have come of it, the others by what did.
    assert found["detected"] - 1 == sum(map(bool, events)) == 6
    assert (found["events"], found["held"], found["beginning_known"]) == (11, 1, 6)
    delays = sorted(spans[0].raised - 1.0 for spans in events)
    assert found["delay_median"] == pytest.approx(np.median([*delays, 0.3 + found["minimum_seconds"]]), abs=0.06)


def test_the_configuration_overrules_what_was_found(calibrated: Done, clips: Path) -> None:
    path = calibrated.path
    model, video = Model(Bundle.open(path)), str(clips / "fight" / "0.mp4")

    (plain,) = replay(model, camera(path), open_source(video)).spans()
    (quick,) = replay(model, camera(path, threshold=0.3, alert={"minimum_seconds": 0}), open_source(video)).spans()

    held = calibrated.figures["classes"]["fight"]["minimum_seconds"]
    assert plain.raised - plain.onset == pytest.approx(held, abs=0.11)
    assert quick.raised == quick.onset < plain.raised


def test_a_flash_in_normal_footage_is_waited_out_instead_of_priced_in(calibrated: Done) -> None:
    found = calibrated.figures["classes"]["fight"]
    at_once = next(trial for trial in found["tried"] if trial["minimum_seconds"] == 0)

    assert found["minimum_seconds"] >= 0.5
    assert at_once["highest_normal"] > found["highest_normal"]


def test_what_is_not_promised_and_what_is_not_known_is_said(calibrated: Done) -> None:
    told = calibrated.told

    assert calibrated.figures["verdict"] == "open"
    assert "2 false alarms per hour is not promised" in told
    assert "It takes 111 min held back" in told
    assert "there is no clip of 'fire'" in told
    assert "there is no clip of 'fight'" not in told
    assert "of 4 clips it is not known when the event lasts" in told
    assert calibrated.stderr.count("\n") == 1
    assert "calibration.thresholds.html" in calibrated.stderr


def test_each_figure_stands_with_how_many_it_comes_from(calibrated: Done) -> None:
    found = calibrated.figures

    assert found["clips"] == {"normal": 6, "fight": 11, "fire": 0}
    assert found["normal_videos"] == 8
    assert found["padded"] == 1
    assert found["classes"]["fight"]["windows"]["positives"] > 60
    ranked = found["classes"]["fight"]["clips"]
    assert (ranked["positives"], ranked["negatives"]) == (11, 6)
    assert 0.6 < ranked["roc_auc"] < 1
    assert found["classes"]["fire"]["clips"] is None
    # What fills a window, and what lies between the two parts of a video, is not counted as watched.
    watched = (401 - 3) + (200 - 3) + 6 * (20 - 3)
    hours = found["chosen_on"]["hours"] + found["checked_on"]["hours"]
    assert watched - tiny_bundle.T <= round(hours * 36000) <= watched


def test_the_report_carries_its_pictures_and_is_shown_again(calibrated: Done, whycam: Whycam) -> None:
    path = calibrated.path
    page = (path / "calibration.thresholds.html").read_text()

    shown = whycam("calibrate", "report", path)

    assert page.count('src="data:image/png') == 5
    assert not re.findall(r'(?:href|src)="(?!data:)', page)
    assert "Thresholds of colours 1" in shown.stdout
    assert "Operating points" in calibrated.stdout


def test_calibrating_again_finds_the_same(calibrated: Done, clips: Path, normal: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(calibrated.path, tmp_path / "again.whycam"))

    calibrate(again, footage=clips, normal_footage=[normal], false_alarms_per_day=48)

    before, after = Bundle.open(calibrated.path).manifest, Bundle.open(again).manifest
    assert after.thresholds == before.thresholds
    assert after.alert_rules == before.alert_rules
    assert after.temperature == before.temperature


def test_normal_footage_alone_sets_thresholds_and_names_each_class(bundle: Path, normal: Path) -> None:
    done = calibrate(bundle, normal_footage=[normal])

    manifest = Bundle.open(bundle).manifest
    assert manifest.temperature == 1
    assert {rule.minimum_seconds for rule in manifest.alert_rules.values()} == {0.5}
    assert min(manifest.thresholds.values()) >= 0.5
    assert all(f"there is no clip of '{name}'" in done.told for name in manifest.anomalies)
    assert "1 false alarm per day is not promised" in done.told
    assert done.figures["classes"]["fight"]["windows"] is None


def test_a_clip_that_cannot_be_read_is_named_and_the_rest_goes_on(bundle: Path, clips: Path, tmp_path: Path) -> None:
    shutil.copytree(clips, tmp_path / "clips")
    (tmp_path / "clips" / "fight" / "torn.mp4").write_bytes(b"no video")

    done = calibrate(bundle, footage=tmp_path / "clips")

    assert "left out:" in done.stderr
    assert "torn.mp4: not a video" in done.stderr
    assert "1 of 18 videos could not be read: fight/torn.mp4" in done.told


def test_clips_that_training_has_seen_are_left_out(bundle: Path, clips: Path, tmp_path: Path) -> None:
    shutil.copytree(clips, tmp_path / "clips")
    rows = [
        f"{label}/{number}.mp4,{label},{number},{'train' if number < 3 else 'test'}"
        for label in ("fight", "normal")
        for number in range(6)
    ]
    (tmp_path / "clips" / "manifest.csv").write_text("\n".join(["path,label,source,split", *rows]) + "\n")

    done = calibrate(bundle, footage=tmp_path / "clips")

    assert "6 clips were left out" in done.told
    assert done.figures["clips"] == {"normal": 3, "fight": 3, "fire": 0}


# -- what it refuses --


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "nothing to calibrate on"),
        ({"normal_footage": "empty"}, "no videos found"),
        ({"normal_footage": "nowhere"}, "no such folder"),
        ({"normal_footage": "normal", "false_alarms_per_day": 0.0}, "0 false alarms cannot be kept to"),
        ({"normal_footage": "normal", "false_alarms_per_hour": -1.0}, "-1 false alarms cannot be kept to"),
        ({"normal_footage": "normal", "false_alarms_per_hour": float("nan")}, "nan false alarms cannot be kept to"),
        ({"normal_footage": "normal", "false_alarms_per_day": 1.0, "false_alarms_per_hour": 1.0}, "give one of them"),
        ({"normal_footage": "normal", "held_back": 1.0}, "--held-back 1: give a share"),
        ({"normal_footage": "torn"}, "none of the 2 videos can be read"),
        ({"footage": "fights"}, "no clip of the normal class 'normal'"),
        ({"footage": "fights", "normal_footage": "torn"}, "of the videos in which nothing happens none can be read"),
        ({"footage": "strange"}, "class 'flood' is not one of bundle 'colours', which knows normal, fight, fire"),
        ({"normal_footage": "normal", "precision": "int8"}, "precision 'int8'"),
        ({"normal_footage": "normal", "provider": ["abacus"]}, "execution provider 'abacus'"),
    ],
)
def test_what_it_cannot_work_with_is_one_line_and_changes_nothing(
    options: dict, words: str, bundle: Path, clips: Path, normal: Path, tmp_path: Path
) -> None:
    folders = {name: tmp_path / name for name in ("empty", "torn", "fights", "strange")}
    for folder in folders.values():
        folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folders["torn"] / name).write_bytes(b"no video")
    for folder, label in ((folders["fights"], "fight"), (folders["strange"], "flood")):
        shutil.copytree(clips / "fight", folder / label)
    folders |= {"normal": normal, "nowhere": tmp_path / "nowhere"}
    given = {**options}
    if "footage" in given:
        given["footage"] = folders[given["footage"]]
    if "normal_footage" in given:
        given["normal_footage"] = [folders[given["normal_footage"]]]
    before = (bundle / "manifest.json").read_bytes()

    with pytest.raises(WhycamError, match=re.escape(words)) as caught:
        calibrate(bundle, **given)

    assert "\n" not in str(caught.value)
    assert (bundle / "manifest.json").read_bytes() == before
    assert not (bundle / "calibration.thresholds.html").exists()


def test_the_command_answers_in_one_line_with_status_2(normal: Path, whycam: Whycam, tmp_path: Path) -> None:
    done = whycam("calibrate", "thresholds", tmp_path / "none.whycam", "--normal-footage", normal)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "no such bundle" in done.stderr


def test_a_full_disk_is_one_line_and_leaves_the_bundle_as_it_was(
    bundle: Path, normal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = (bundle / "manifest.json").read_bytes()
    monkeypatch.setattr(revision, "write_to_disk", full)

    with pytest.raises(BundleError, match="No space left on device"):
        calibrate(bundle, normal_footage=[normal])

    assert (bundle / "manifest.json").read_bytes() == before
