"""`whycam train` from outside: a process, its files, its exit status."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from whycam_export.training.network import preprocess
from whycam_export.training.windows import Sampling, read_windows

SMALL = ["--size", "64", "--frames", "5", "--width", "0.1", "--units", "8", "--dense", "8", "--augment", "1"]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from whycam.commands import main; main()", "train", *map(str, arguments)]


def train(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=500, check=False)


@pytest.fixture(scope="module")
def run(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One run that trains block5 too, and so goes through both phases."""
    from whycam_export.training.network import vgg19

    folder = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(1)
    vgg19(64, 0.1).save_weights(folder / "backbone.weights.h5")
    weights = ["--backbone-weights", folder / "backbone.weights.h5", "--fine-tune", "block5", "--epochs", 6]
    result = train(clips, "-o", folder / "fight.keras", *SMALL, *weights, "--cache", folder / "cache")
    assert result.returncode == 0, result.stderr
    return folder, result


def test_a_run_leaves_the_model_and_what_belongs_beside_it(run: tuple[Path, object]) -> None:
    folder, _ = run

    names = {path.name for path in folder.iterdir()} - {"cache", "backbone.weights.h5"}

    suffixes = ("keras", "json", "metrics.json", "history.csv", "history.png", "confusion.png")
    assert names == {f"fight.{suffix}" for suffix in suffixes}


def test_the_description_is_what_the_exporter_reads(run: tuple[Path, object]) -> None:
    description = json.loads((run[0] / "fight.json").read_text())

    assert description["schema"] == "whycam.training/1"
    assert description["classes"] == ["fight", "normal"]
    assert description["normal"] == "normal"
    assert description["frame_interval"] == 0.1
    assert description["preprocess"] == "caffe"


def test_no_source_of_the_description_is_on_two_sides(run: tuple[Path, object]) -> None:
    sources = json.loads((run[0] / "fight.json").read_text())["sources"]

    assert sources["train"]
    assert sources["validation"]
    assert not set(sources["train"]) & set(sources["validation"])


def test_the_saved_network_gives_the_scores_that_the_metrics_name(run: tuple[Path, object]) -> None:
    model = keras.saving.load_model(run[0] / "fight.keras")
    metrics = json.loads((run[0] / "fight.metrics.json").read_text())

    for clip in metrics["clips"]:
        windows = read_windows(Path(clip["path"]), Sampling(5, 0.1, (64, 64))).frames
        scores = model.predict(preprocess(windows), verbose=0).mean(axis=0)
        assert scores == pytest.approx(np.array([clip["scores"][name] for name in metrics["classes"]]), abs=1e-4)


def test_colours_are_learned_and_measured_by_clip(run: tuple[Path, object]) -> None:
    validation = json.loads((run[0] / "fight.metrics.json").read_text())["validation"]

    assert validation["clips"] == 4
    assert validation["accuracy"] >= 0.75
    assert set(validation["recall"]) == {"fight", "normal"}
    assert np.sum(validation["confusion"]) == 4


def test_the_history_has_a_row_per_epoch_of_each_phase(run: tuple[Path, object]) -> None:
    with (run[0] / "fight.history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert {row["phase"] for row in rows} == {"none", "block5"}
    assert all(float(row["val_cross_entropy"]) > 0 for row in rows)


def test_pictures_are_pictures(run: tuple[Path, object]) -> None:
    for name in ("fight.history.png", "fight.confusion.png"):
        assert (run[0] / name).read_bytes().startswith(b"\x89PNG")


def test_an_unreadable_clip_is_named_skipped_and_counted(
    run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, result = run
    skipped = json.loads((folder / "fight.metrics.json").read_text())["skipped"]

    assert [Path(path).name for path in skipped] == ["broken.mp4"]
    assert "broken.mp4" in result.stderr
    assert "1 clip cannot be read" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "-o", "fight.keras"], "nowhere: no such folder"),
        (["CLIPS", "-o", "fight.h5"], "must end in .keras"),
        (["CLIPS", "-o", "fight.keras", "--size", "16"], "--size 16x16"),
        (["CLIPS", "-o", "fight.keras", "--backbone-weights", "nowhere.npz"], "nowhere.npz: no such weights file"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)

    result = train(*[str(clips) if argument == "CLIPS" else argument for argument in arguments])

    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_clips_none_of_which_can_be_read_are_refused(tmp_path: Path) -> None:
    for name in ("fight/a", "fight/b", "normal/c", "normal/d"):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clips" / f"{name}.mp4").write_bytes(name.encode() * 100)

    result = train(
        *(tmp_path / "clips", "-o", tmp_path / "fight.keras", *SMALL),
        *("--backbone-weights", "none", "--fine-tune", "all", "--cache", tmp_path / "cache"),
    )

    assert result.returncode == 2
    assert "none of the 4 clips can be read" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_interrupted_run_leaves_no_half_output(clips: Path, tmp_path: Path) -> None:
    arguments = (clips, "-o", tmp_path / "fight.keras", *SMALL, "--cache", tmp_path / "cache", "--patience", 10**6)
    process = subprocess.Popen(
        command(*arguments, "--backbone-weights", "none", "--fine-tune", "all", "--epochs", 10**6),
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        # A shell starts what runs in the background with SIGINT ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if "Training" in line:
                break
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        said.append(process.communicate(timeout=120)[1])
    finally:
        process.kill()

    assert process.returncode not in (0, 2), "".join(said)
    assert "Traceback" not in "".join(said)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert all(path.suffix == ".npy" for path in (tmp_path / "cache").iterdir())


def test_attention_is_trained_on_the_frozen_backbone(clips: Path, tmp_path: Path) -> None:
    weights = ["--backbone-weights", "none", "--epochs", 2, "--attention"]
    result = train(clips, "-o", tmp_path / "fight.keras", *SMALL, *weights, "--cache", tmp_path / "cache")

    assert result.returncode == 0, result.stderr
    model = keras.models.load_model(tmp_path / "fight.keras", compile=False)
    assert type(model.get_layer("attention")).__name__ == "TemporalAttention"
    assert type(model.get_layer("pooling").layer).__name__ == "SpatialAttention"
    refused = train(clips, "-o", tmp_path / "other.keras", *SMALL, "--attention", "--pooling", "average")
    assert refused.returncode == 2
    assert "whycam: --pooling average: with --attention, attention pools" in refused.stderr
