"""Building TensorRT's engines ahead, on a stub of ONNX Runtime's sessions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime import gpu_stub
from whycam.bundle import Bundle
from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.progress import silent
from whycam_calibration.precision.tensorrt import build_engines


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gpu_stub.Device:
    return gpu_stub.install(monkeypatch, tmp_path / "engines")


def test_engines_of_what_scores_and_explains_are_built(
    built_bundle: Path, tmp_path: Path, gpu: gpu_stub.Device
) -> None:
    folder = build_engines(Bundle.open(built_bundle), "fp32", silent)
    assert Path(folder).parent == tmp_path / "engines"
    assert {file for file, _ in gpu.opened} >= {"features.onnx", "step.onnx", "head.onnx", "maps_vjp.onnx"}
    assert {providers[0][0] for _, providers in gpu.opened} == {gpu_stub.TENSORRT}


def test_where_tensorrt_does_not_take_the_network_no_engine_is_said_to_be_there(
    built_bundle: Path, gpu: gpu_stub.Device
) -> None:
    gpu.raises[gpu_stub.TENSORRT] = "no libnvinfer"
    with pytest.raises(CalibrationError, match="no engine was built, CUDA runs the network instead"):
        build_engines(Bundle.open(built_bundle), "fp32", silent)
