"""`whycam calibrate precision`: what goes into the bundle, what the gate refuses, and what `auto` repairs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.calibration import conv_bundle
from tests.runtime.tiny_bundle import T
from whycam.bundle import Bundle, Manifest, revise
from whycam.deployment.self_test import self_test
from whycam.detect import Model, load
from whycam.detect.sessions import feature_file
from whycam.errors import BundleError, InputError
from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.gate import Limits
from whycam_calibration.precision.options import Options
from whycam_calibration.precision.progress import silent
from whycam_calibration.precision.run import calibrate_precision
from whycam_calibration.precision.speed import Speed
from whycam_calibration.report import Report
from whycam_calibration.report.stored import read_reports

CPU = "CPUExecutionProvider"
Run = Callable[..., subprocess.CompletedProcess[str]]
Calibrate = Callable[..., Report]


@pytest.fixture
def calibrate(conv: Path, footage: Path, tmp_path: Path) -> Calibrate:
    """Calibrates as if the forms were so many times as fast as fp32; without `cpu`, as if that one were no faster."""

    def run(
        precision: str = "int8", bundle: Path = conv, *, portable: float = 1.0, cpu: bool = True, **options: object
    ) -> Report:
        def measure(extractors: dict[str, object], image: np.ndarray) -> dict[str, Speed]:
            fast = 2.0 if cpu and portable >= 1 else portable
            return {name: Speed(0.01, {"int8-cpu": fast, "int8": portable}.get(name, 1.0)) for name in extractors}

        chosen = Options(precision, cache=tmp_path / "cache", **options)  # type: ignore[arg-type]
        return calibrate_precision(bundle, footage, chosen, silent, measure)

    return run


def contents(bundle: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(bundle.iterdir())}


def manifest_of(bundle: Path) -> Manifest:
    return Bundle.open(bundle).manifest


def test_int8_goes_into_the_bundle_in_both_forms_with_figures_golden_values_and_report(
    calibrate: Calibrate, conv: Path
) -> None:
    before = manifest_of(conv)

    report = calibrate("int8", images=20)

    bundle = Bundle.open(conv)
    manifest = bundle.manifest
    assert manifest.precisions == {
        "fp32": "features.onnx",
        "int8": "features.int8.onnx",
        "int8-cpu": "features.int8-cpu.onnx",
    }
    for name in ("int8", "int8-cpu"):
        figures = manifest.calibrated[name]
        assert (figures.images, figures.method, figures.higher) == (20, "minmax", ())
        assert figures.windows == 6
        assert figures.agreement == 1
        assert figures.heatmap_correlation is not None
        assert figures.heatmap_correlation > 0.98
        assert figures.golden == f"golden.{name}.npz"
    for name in manifest.files:
        bundle.file(name)
    assert manifest.thresholds == before.thresholds
    assert read_reports(bundle)[0][1].figures == json.loads(json.dumps(report.figures))
    page = (conv / "calibration.int8.html").read_text()
    assert page.count("data:image/") >= 3
    assert all(layer in page for layer in conv_bundle.LAYERS)


def test_golden_values_are_what_the_precision_gives_for_the_golden_frames(calibrate: Calibrate, conv: Path) -> None:
    calibrate("int8")

    with np.load(conv / "golden.npz") as fp32, np.load(conv / "golden.int8.npz") as int8:
        frames, label = fp32["frames"], str(fp32["label"])
        stored = {key: int8[key] for key in int8.files}
    model = Model(Bundle(conv, without_cpu_form(conv)), "int8", ["cpu"])
    window = model.snapshot(frames)
    assert stored["scores"] == pytest.approx([window.scores[name] for name in model.manifest.classes])
    assert stored["heatmaps"] == pytest.approx(model.explain(window, "grad-cam", label).heatmaps)
    assert str(stored["label"]) == label
    assert stored["heatmaps"].shape == (T, 4, 4)


@pytest.mark.parametrize("form", ["int8", "int8-cpu"])
def test_what_was_calibrated_passes_the_devices_self_test(form: str, calibrate: Calibrate, conv: Path) -> None:
    calibrate("int8", cpu=form == "int8-cpu")
    bundle = revise(Bundle.open(conv), {}, temperature=1.7)

    made = self_test(bundle, "int8", ["cpu"])

    assert made.precision == form
    assert made.passed, made.problems
    assert [each.what for each in made.comparisons] == ["scores, head", "scores, step", "heat maps, correlation"]
    assert {each.against for each in made.comparisons} == {f"golden.{form}.npz"}


def without_cpu_form(bundle: Path) -> Manifest:
    manifest = manifest_of(bundle)
    return manifest.model_copy(update={"precisions": {"fp32": "features.onnx", "int8": "features.int8.onnx"}})


def test_the_form_for_the_cpu_is_left_out_where_it_is_no_faster(calibrate: Calibrate, conv: Path) -> None:
    calibrate("int8")
    calibrate("int8", cpu=False)

    assert set(manifest_of(conv).precisions) == {"fp32", "int8"}
    assert set(manifest_of(conv).calibrated) == {"int8"}
    assert not list(conv.glob("*int8-cpu*"))


def test_int8_means_the_cpus_form_where_the_cpu_alone_runs_it(calibrate: Calibrate, conv: Path) -> None:
    calibrate("int8")
    manifest = manifest_of(conv)

    assert feature_file(manifest, "int8", [CPU]) == "features.int8-cpu.onnx"
    assert feature_file(manifest, "int8", ["CUDAExecutionProvider", CPU]) == "features.int8.onnx"
    assert feature_file(manifest, "int8") == "features.int8.onnx"
    assert feature_file(manifest, "fp32", [CPU]) == "features.onnx"
    assert feature_file(without_cpu_form(conv), "int8", [CPU]) == "features.int8.onnx"
    with pytest.raises(InputError, match=r"has fp32, int8$"):
        feature_file(manifest, "fp16", [CPU])
    (conv / "features.int8.onnx").unlink()
    detector = load(conv, "int8", ["cpu"])
    assert detector.model.precision == "int8"


def test_a_second_run_replaces_the_first(calibrate: Calibrate, conv: Path) -> None:
    calibrate("int8", method="minmax")
    calibrate("int8", method="percentile", images=10)

    figures = manifest_of(conv).calibrated["int8"]
    assert (figures.method, figures.images) == ("percentile", 10)
    assert len(list(conv.glob("calibration.*"))) == 2


def test_fp16_goes_in_beside_int8(calibrate: Calibrate, conv: Path) -> None:
    calibrate("int8")
    calibrate("fp16")

    manifest = manifest_of(conv)
    assert set(manifest.precisions) == {"fp32", "int8", "int8-cpu", "fp16"}
    assert manifest.calibrated["fp16"].method is None
    assert manifest.calibrated["fp16"].higher == ()
    assert manifest.calibrated["fp16"].score_drift_max < 0.01


def test_an_outlier_that_fp16_cannot_hold_is_left_in_float32(tmp_path: Path, calibrate: Calibrate) -> None:
    bundle = conv_bundle.build(tmp_path / "outlier.whycam", outlier=1e6)

    calibrate("fp16", bundle)

    assert manifest_of(bundle).calibrated["fp16"].higher == ("spread", "gather")


def test_an_outlier_channel_that_breaks_int8_is_refused_and_nothing_is_written(
    tmp_path: Path, calibrate: Calibrate
) -> None:
    bundle = conv_bundle.build(tmp_path / "outlier.whycam", outlier=1e4)
    before = contents(bundle)

    with pytest.raises(CalibrationError) as refusal:
        calibrate("int8", bundle)

    assert contents(bundle) == before
    text = str(refusal.value)
    assert "int8 does not keep what fp32 decides on 6 held-back windows" in text
    assert "scores drift by" in text
    assert "gather hurts most; try --precision auto" in text


def test_auto_leaves_the_layer_that_reads_the_outlier_in_higher_precision(tmp_path: Path, calibrate: Calibrate) -> None:
    bundle = conv_bundle.build(tmp_path / "outlier.whycam", outlier=1e4)

    calibrate("auto", bundle)

    manifest = manifest_of(bundle)
    for name in ("int8", "int8-cpu"):
        assert manifest.calibrated[name].higher == ("gather",)
        assert not manifest.calibrated[name].score_drift > Limits().max_score_drift
    assert "kept" in (bundle / "calibration.int8.html").read_text()


def test_auto_leaves_nothing_in_higher_precision_where_nothing_hurts(calibrate: Calibrate, conv: Path) -> None:
    calibrate("auto")

    assert manifest_of(conv).calibrated["int8"].higher == ()


def test_auto_says_where_it_cannot(calibrate: Calibrate, conv: Path) -> None:
    with pytest.raises(CalibrationError, match=r"nothing was written: even with 1 of 3 layers in higher precision"):
        calibrate("auto", limits=Limits(max_score_drift=0))

    assert set(manifest_of(conv).precisions) == {"fp32"}


def test_a_bundle_that_does_not_explain_is_judged_by_its_scores(tmp_path: Path, calibrate: Calibrate) -> None:
    bundle = conv_bundle.build(tmp_path / "mute.whycam", explain="none")

    report = calibrate("int8", bundle)

    assert manifest_of(bundle).calibrated["int8"].heatmap_correlation is None
    assert any("has no heat maps" in warning for warning in report.warnings)
    with np.load(bundle / "golden.int8.npz") as golden:
        assert golden["heatmaps"].size == 0


def test_too_few_frames_and_unreadable_clips_are_told(calibrate: Calibrate, footage: Path) -> None:
    (footage / "clip0.avi").write_bytes(b"no video")

    report = calibrate("int8", images=10)

    assert any("ranges come from 10 frames, fewer than 100" in warning for warning in report.warnings)
    assert any("1 clips could not be read: clip0.avi" in warning for warning in report.warnings)


def test_too_few_windows_to_judge_by_are_told(calibrate: Calibrate, monkeypatch: pytest.MonkeyPatch) -> None:
    from whycam_calibration.precision import ground

    report = calibrate("int8")
    count = report.figures["precisions"]["int8"]["windows"]
    told = f"compared on {count} windows, fewer than 30"
    assert any(told in warning for warning in report.warnings)

    monkeypatch.setattr(ground, "FEW_WINDOWS", count)

    assert not any("windows, fewer than" in warning for warning in calibrate("int8").warnings)


def test_a_bundle_that_was_exported_anew_meanwhile_is_left_alone(
    calibrate: Calibrate, conv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whycam.bundle import revise
    from whycam_calibration.precision import run

    other = conv_bundle.network(outlier=2.0).SerializeToString()
    report_of = run.report_of

    def exported(*arguments: object) -> Report:
        revise(Bundle.open(conv), {"features.onnx": other})
        return report_of(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "report_of", exported)

    with pytest.raises(BundleError, match=r"features\.onnx was changed meanwhile"):
        calibrate("int8")

    assert set(manifest_of(conv).precisions) == {"fp32"}


def test_a_search_that_is_killed_goes_on_where_it_was(tmp_path: Path, footage: Path) -> None:
    bundle = conv_bundle.build(tmp_path / "outlier.whycam", outlier=1e4)
    cache = tmp_path / "cache"
    command = [sys.executable, "-m", "whycam", "calibrate", "precision", str(bundle), "--footage", str(footage)]
    command += ["--precision", "auto", "--cache", str(cache)]

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not list(cache.glob("*/seen.fp32.npz")) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = {path: path.stat().st_mtime_ns for path in cache.glob("*/[a-z]*") if path.stem != "depends-on"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})

    assert done.returncode == 0, done.stderr
    assert kept
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert manifest_of(bundle).calibrated["int8"].higher == ("gather",)


class TestTheCommand:
    def test_shows_what_it_found_and_names_the_page(
        self, conv: Path, footage: Path, tmp_path: Path, whycam: Run
    ) -> None:
        done = whycam(
            "calibrate", "precision", conv, "--footage", footage, "--precision", "int8", "--cache", tmp_path / "cache"
        )

        assert done.returncode == 0, done.stderr
        for text in ("INT8 of colours 1", "labels as fp32's", "score drift, 95th percentile", "gather"):
            assert text in done.stdout
        assert "calibration.int8.html" in done.stderr
        scored = whycam("score", footage / "clip1.avi", "-b", conv, "--precision", "int8")
        assert scored.returncode == 0, scored.stderr
        assert json.loads(scored.stdout.splitlines()[-1])["warm"]

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--precision", "int4"], "--precision int4: choose int8, fp16, auto"),
            (["--precision", "int8", "--method", "guess"], "--method guess: choose minmax, entropy, percentile"),
            (["--precision", "int8", "--images", "0"], "--images 0: give 1 or more"),
            (["--precision", "int8", "--min-agreement", "99"], "--min-agreement 99: give a number from 0 to 1"),
            (["--precision", "int8", "--tensorrt"], "--tensorrt: the ONNX Runtime installed here has no Tensorrt"),
        ],
    )
    def test_refuses_options_in_one_line(
        self, conv: Path, footage: Path, tmp_path: Path, whycam: Run, arguments: list[str], told: str
    ) -> None:
        before = contents(conv)

        done = whycam("calibrate", "precision", conv, "--footage", footage, "--cache", tmp_path / "cache", *arguments)

        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert told in done.stderr
        assert contents(conv) == before

    def test_asks_for_footage(self, conv: Path, whycam: Run) -> None:
        done = whycam("calibrate", "precision", conv, "--precision", "int8")

        assert done.returncode == 2
        assert "--footage is missing" in done.stderr

    def test_refuses_within_the_gate_in_one_line(self, tmp_path: Path, footage: Path, whycam: Run) -> None:
        bundle = conv_bundle.build(tmp_path / "outlier.whycam", outlier=1e4)

        done = whycam(
            "calibrate", "precision", bundle, "--footage", footage, "--precision", "int8", "--cache", tmp_path / "cache"
        )

        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "nothing was written" in done.stderr


def test_a_bundle_that_is_not_there_is_named(tmp_path: Path, calibrate: Calibrate) -> None:
    with pytest.raises(BundleError, match="no such bundle"):
        calibrate("int8", tmp_path / "none.whycam")


def test_a_damaged_feature_extractor_is_named(calibrate: Calibrate, conv: Path) -> None:
    (conv / "features.onnx").write_bytes(b"no graph")

    with pytest.raises(BundleError, match=r"features\.onnx: damaged"):
        calibrate("int8")


def test_a_bundle_without_golden_values_is_named(calibrate: Calibrate, conv: Path) -> None:
    from whycam.bundle import revise

    revise(Bundle.open(conv), {}, drop=["golden.npz"])

    with pytest.raises(BundleError, match=r"golden\.npz.*export the model again"):
        calibrate("int8")


def test_footage_of_which_nothing_can_be_read_is_refused(calibrate: Calibrate, footage: Path) -> None:
    for path in footage.iterdir():
        path.write_bytes(b"no video")

    with pytest.raises(CalibrationError, match="none of the 6 clips to calibrate from could be read; the first: "):
        calibrate("int8")


def test_a_full_disk_is_told_and_the_bundle_is_as_before(
    calibrate: Calibrate, conv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whycam.bundle import revision

    before = contents(conv)

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(revision, "write_to_disk", full)

    with pytest.raises(BundleError, match="No space left on device"):
        calibrate("int8")

    assert contents(conv) == before


def test_what_is_no_faster_on_a_cpu_says_so(calibrate: Calibrate) -> None:
    assert any("int8 is slower than fp32 (0.50 times" in each for each in calibrate("int8", portable=0.5).warnings)
    assert any("FP16 is computed in float32" in each for each in calibrate("fp16").warnings)
    assert not any("slower" in each for each in calibrate("int8").warnings)
