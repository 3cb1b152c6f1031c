"""The sliding window's step in INT8: faster, let in by the gate, and left out where it would change what is decided."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.calibration.conv_bundle import textures
from tests.runtime.tiny_bundle import T
from whycam.bundle import Bundle, revise
from whycam.detect import Detector, load
from whycam.detect.sessions import step_file
from whycam_calibration.precision.options import Options
from whycam_calibration.precision.progress import silent
from whycam_calibration.precision.run import calibrate_precision
from whycam_calibration.precision.speed import Speed
from whycam_calibration.precision.step import Stepper, quantize_step
from whycam_calibration.report import Report

CPU = "CPUExecutionProvider"
Calibrate = Callable[..., Report]


@pytest.fixture
def calibrate(conv: Path, footage: Path, tmp_path: Path) -> Calibrate:
    """Calibrates as if the form for the CPU were twice as fast, and the step in INT8 `step` times."""

    def run(step: float = 2.0) -> Report:
        def measure(runs: dict[str, object], one: np.ndarray) -> dict[str, Speed]:
            ratio = 2.0 if one.ndim == 3 else step
            return {name: Speed(0.01, ratio if name == "int8-cpu" else 1.0) for name in runs}

        return calibrate_precision(conv, footage, Options("int8", cache=tmp_path / "cache"), silent, measure)

    return run


def test_the_step_is_in_int8_where_the_cpu_alone_runs_it(calibrate: Calibrate, conv: Path) -> None:
    plain = load(conv, "fp32", ["cpu"])

    report = calibrate()

    manifest = Bundle.open(conv).manifest
    assert manifest.steps == {"int8-cpu": "step.int8-cpu.onnx"}
    assert step_file(manifest, "int8", [CPU]) == "step.int8-cpu.onnx"
    assert step_file(manifest, "int8", ["CUDAExecutionProvider", CPU]) == "step.onnx"
    assert step_file(manifest, "fp32", [CPU]) == "step.onnx"
    assert report.figures["precisions"]["int8-cpu"]["step"] is True
    quantized = load(conv, "int8", ["cpu"])
    for frame in textures(5, 2 * T):
        expected, found = plain.push(frame), quantized.push(frame)
    assert list(found.scores.values()) == pytest.approx(list(expected.scores.values()), abs=0.05)
    assert list(found.scores.values()) != list(expected.scores.values())


def test_the_step_stays_in_float32_where_it_is_no_faster(calibrate: Calibrate, conv: Path) -> None:
    calibrate()
    calibrate(step=1.0)

    manifest = Bundle.open(conv).manifest
    assert manifest.steps == {}
    assert "step.int8-cpu.onnx" not in manifest.files
    assert not (conv / "step.int8-cpu.onnx").exists()


def test_the_step_stays_in_float32_where_the_gate_does_not_hold(calibrate: Calibrate, conv: Path) -> None:
    with_outlier(conv)

    report = calibrate()

    assert Bundle.open(conv).manifest.steps == {}
    assert "int8-cpu" in Bundle.open(conv).manifest.precisions
    (warning,) = [line for line in report.warnings if "step" in line]
    assert warning.startswith("the step stays in float32: in INT8 ")
    assert "labels agree in" in warning or "scores drift by" in warning


def with_outlier(bundle: Path) -> None:
    """A weight that meets nothing but zeros: it changes nothing in float32, and leaves eight bits to no other."""
    model = onnx.load(bundle / "step.onnx")
    graph = model.graph
    product = next(node for node in graph.node if node.op_type == "MatMul")
    weights = next(tensor for tensor in graph.initializer if tensor.name == product.input[1])
    kept = numpy_helper.to_array(weights)
    weights.CopyFrom(
        numpy_helper.from_array(np.vstack([kept, np.full((1, kept.shape[1]), 1e6, np.float32)]), weights.name)
    )
    index = list(graph.node).index(product)
    sums, product.input[0] = product.input[0], "widened"
    graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 0, 1]), "a column"))
    graph.node.insert(index, helper.make_node("Pad", [sums, "a column"], ["widened"]))
    revise(Bundle.open(bundle), {"step.onnx": model.SerializeToString()})


def test_no_cameras_decision_depends_on_what_another_shows(calibrate: Calibrate, conv: Path) -> None:
    calibrate()
    model = load(conv, "int8", ["cpu"]).model
    frames = textures(5, 2 * T)
    alone = Detector(model)
    expected = [alone.push(frame // 4).scores for frame in frames]
    quiet, loud = Detector(model), Detector(model)

    for frame, wanted in zip(frames, expected, strict=True):
        due, other = quiet.take(frame // 4), loud.take(frame)
        samples = model.samples([due.image, other.image], [due.time, other.time])
        Detector.step_together([quiet, loud], samples)
        assert quiet.decide(due, samples[0]).scores == pytest.approx(wanted, abs=1e-6, nan_ok=True)
        loud.decide(other, samples[1])


def test_a_window_slides_by_steps_as_the_head_sees_it_whole(conv: Path) -> None:
    bundle = Bundle.open(conv)
    window = np.random.default_rng(2).random((T, bundle.manifest.features), dtype=np.float32)

    plain = Stepper(bundle.file("step.onnx").read_bytes(), bundle.manifest).scores(window)
    quantized = Stepper(quantize_step(bundle), bundle.manifest).scores(window)

    _, whole = load(conv).model.logits(window[np.newaxis])
    assert plain == pytest.approx(whole[0], abs=1e-6)
    assert quantized == pytest.approx(whole[0], abs=0.02)
