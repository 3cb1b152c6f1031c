"""`whycam calibrate drift` on real videos, and whether the monitor tells what has become of the camera."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from whycam.bundle import Bundle
from whycam.detect import Detector, Model
from whycam.drift import DriftMonitor, DriftReport, read_baseline
from whycam.errors import BundleError, WhycamError
from whycam.sources import open_source
from whycam_calibration.commands.drift import drift
from whycam_calibration.errors import CalibrationError
from whycam_calibration.report.stored import read_reports

Whycam = Callable[..., subprocess.CompletedProcess[str]]
Picture = Callable[[np.ndarray], np.ndarray]

CHANGES: dict[str, Picture] = {
    "another view": lambda image: image[::-1, ::-1],
    "blurrier": lambda image: cv2.GaussianBlur(image, (0, 0), 5),
    "darker": lambda image: (image * 0.2).astype(np.uint8),
}


def film(path: Path, seconds: float, seed: int, change: Picture = lambda image: image) -> Path:
    """A room of 64 x 48 at 10 frames per second: light that wavers, noise, and someone who walks to and fro."""
    room = np.full((48, 64, 3), 120.0)
    cv2.rectangle(room, (4, 4), (20, 22), (230, 220, 210), -1)
    cv2.rectangle(room, (48, 12), (60, 47), (40, 60, 90), -1)
    rng = np.random.default_rng(seed)
    path.parent.mkdir(exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    light, place = 0.0, 30.0
    for _ in range(round(seconds * 10)):
        light = 0.8 * light + rng.normal(0, 0.6)
        place = 30 + 0.9 * (place - 30) + rng.normal(0, 2)
        image = room + light + rng.normal(0, 4, room.shape)
        cv2.rectangle(image, (round(place), 16), (round(place) + 5, 40), (70, 70, 70), -1)
        writer.write(change(np.clip(image, 0, 255).astype(np.uint8)))
    writer.release()
    return path


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute and a half: a video of a minute, one of half a minute, and one that is none."""
    folder = tmp_path_factory.mktemp("footage")
    film(folder / "a.mp4", 62, 1)
    film(folder / "b.mp4", 31, 2)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="session")
def calibrated(built_bundle: Path, footage: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A bundle that the command has calibrated, and what it printed."""
    bundle = Path(shutil.copytree(built_bundle, tmp_path_factory.mktemp("calibrated") / "colours.whycam"))
    command = [sys.executable, "-m", "whycam", "calibrate", "drift", bundle, "--footage", footage]
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return bundle, done.stdout


def watch(bundle: Path, video: Path) -> list[DriftReport]:
    """What a monitor makes of `video`."""
    opened = Bundle.open(bundle)
    baseline = read_baseline(opened)
    assert baseline is not None
    detector, monitor = Detector(Model(opened)), DriftMonitor(baseline, opened.manifest)
    reports = []
    for frame in open_source(str(video)):
        decision = detector.push(frame.image, frame.time)
        if decision is not None and decision.warm:
            report = monitor.push(detector.snapshot().samples[-1], decision.scores)
            reports += [report] if report is not None else []
    return reports


def test_new_footage_of_the_same_is_no_drift(calibrated: tuple[Path, str], tmp_path: Path) -> None:
    reports = watch(calibrated[0], film(tmp_path / "usual.mp4", 45, 3))

    assert max(report.statistic for report in reports) < 1
    assert reports[-1].drifted is False


@pytest.mark.parametrize("says", CHANGES)
def test_each_change_is_drift_and_is_told_by_its_name(calibrated: tuple[Path, str], tmp_path: Path, says: str) -> None:
    last = watch(calibrated[0], film(tmp_path / "changed.mp4", 45, 4, CHANGES[says]))[-1]

    assert last.drifted
    assert says in [sign.says for sign in last.signs]


def test_the_bundle_holds_the_statistics_and_the_report(calibrated: tuple[Path, str], built_bundle: Path) -> None:
    path, printed = calibrated
    for text in ("blocks of 3 s", "sharpness", "1 in 30 days", "calibration.drift.html"):
        assert text in printed
    assert "broken.mp4: not a video" in printed, "it is named, the rest counts"
    before, after = Bundle.open(built_bundle).manifest, Bundle.open(path).manifest
    assert after.drift == "drift.npz"
    assert after.model_dump(exclude={"drift", "files"}) == before.model_dump(exclude={"drift", "files"})
    added = {"drift.npz", "calibration.drift.html", "calibration.drift.json"}
    assert set(after.files) - set(before.files) == added
    [(page, report)] = read_reports(Bundle.open(path))
    assert report.figures["blocks"] == 30
    assert report.figures["block_seconds"] == 3
    assert report.figures["held_back"]["beyond"] == 0
    assert report.figures["largest"] < 1
    assert page.read_text().count("data:image/png") == 1


def test_it_may_be_calibrated_again_and_with_the_zones_of_a_camera(
    calibrated: tuple[Path, str], footage: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(calibrated[0], tmp_path / "colours.whycam"))
    config = tmp_path / "whycam.toml"
    config.write_text(
        f'device = "a"\n[[camera]]\nname = "gate"\nsource = "v.mp4"\nbundle = "{bundle}"\n'
        '[[camera.zone]]\nname = "all"\nkind = "mask"\npolygon = [[0, 0], [1, 0], [1, 1], [0, 1]]\n'
    )

    drift(bundle, footage, config, "gate")

    baseline = read_baseline(Bundle.open(bundle))
    assert baseline is not None
    assert baseline.mean[1] == pytest.approx(0, abs=0.1), "what is covered has no contrast"


def test_too_little_footage_is_refused_with_the_seconds_that_are_needed(
    bundle: Path, whycam: Whycam, tmp_path: Path
) -> None:
    video = film(tmp_path / "short" / "a.mp4", 30, 1)
    manifest = (bundle / "manifest.json").read_bytes()

    done = whycam("calibrate", "drift", bundle, "--footage", video.parent)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "30 s of footage" in done.stderr
    assert "at least 60 s" in done.stderr
    assert (bundle / "manifest.json").read_bytes() == manifest
    assert not (bundle / "drift.npz").exists()


def test_many_pieces_that_hold_no_block_are_too_little(bundle: Path, tmp_path: Path) -> None:
    piece = film(tmp_path / "pieces" / "0.mp4", 3, 1)
    for number in range(1, 25):
        (piece.parent / f"{number}.mp4").write_bytes(piece.read_bytes())

    with pytest.raises(CalibrationError, match=r"0 whole blocks of 3 s in 25 videos"):
        drift(bundle, piece.parent)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bundle": "nowhere.whycam"}, r"nowhere\.whycam: no such bundle"),
        ({"footage": "nowhere"}, "nowhere: no such folder"),
        ({"footage": "colours.whycam"}, "no videos found"),
        ({"precision": "int4"}, "int4"),
        ({"camera": "gate"}, "--config"),
        ({"config": "none.toml"}, r"none\.toml"),
    ],
)
def test_bad_input_is_refused_by_name(
    bundle: Path, tmp_path: Path, arguments: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(tmp_path / "a.mp4", 0.3, 1)
    monkeypatch.chdir(bundle.parent)
    given = {
        name: Path(value) if name in ("bundle", "footage", "config") else value for name, value in arguments.items()
    }

    with pytest.raises(WhycamError, match=words):
        drift(**{"bundle": Path("colours.whycam"), "footage": Path(), **given})  # type: ignore[arg-type]


def test_a_full_disk_changes_nothing(bundle: Path, footage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("whycam.bundle.revision.write_to_disk", full)

    with pytest.raises(BundleError, match=r"cannot be written \(No space left on device\)"):
        drift(bundle, footage)

    assert Bundle.open(bundle).manifest.drift is None
