"""The libraries: what they say of themselves, judged on recorded machines; and those of this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.runtime.doctor.conftest import Installation, only, recorded
from tests.runtime.doctor.cuda_library import CUBIN, write_cuda_library
from whycam.config.models import Config
from whycam.doctor import software
from whycam.doctor.asking import NoAnswerError
from whycam.doctor.gpu import Gpu
from whycam.doctor.machine import Machine
from whycam.doctor.report import Status

CUDA, CPU, TENSORRT = "CUDAExecutionProvider", "CPUExecutionProvider", "TensorrtExecutionProvider"


def runtime(library: Path | None = None, **said: Any) -> dict[str, Any]:
    return {
        "version": "1.31.1",
        "folder": "/somewhere",
        "providers": [CUDA, CPU] if library else [CPU],
        "wheels": ["onnxruntime-gpu"] if library else ["onnxruntime"],
        "cuda_library": str(library) if library else None,
        "cuda_problem": None,
        "sm": None,
        "tensorrt": None,
        **said,
    }


def opencv(**said: Any) -> dict[str, Any]:
    return {"version": "4.10.0", "folder": "/x", "wheels": [], "gstreamer": True, "ffmpeg": True, **said}


def watching(installation: Installation, **camera: Any) -> Installation:
    values = {"name": "gate", "source": "film.mp4", "bundle": "a.whycam", **camera}
    installation.config = Config.model_validate({"device": "d", "cameras": [values]})
    return installation


@pytest.fixture
def registry_wheel(tmp_path: Path) -> Path:
    """A library with code for the architectures of the registry's aarch64 wheel 1.31.1."""
    return write_cuda_library(tmp_path / "cuda.so", [[(CUBIN, 89), (CUBIN, 90)], [(CUBIN, 120), (CUBIN, 121)]])


@pytest.mark.parametrize(
    ("tree", "sm", "index"),
    [
        ("orin-nano-jetpack-6.2", 87, "https://pypi.jetson-ai-lab.io/jp6/cu126"),
        ("agx-thor-jetpack-7.0", 110, "https://pypi.jetson-ai-lab.io/sbsa/cu130"),
    ],
)
def test_the_registry_s_wheel_has_no_code_for_a_jetson(tree: str, sm: int, index: str, registry_wheel: Path) -> None:
    finding = only(software.cuda(recorded(tree, onnxruntime=runtime(registry_wheel))))

    assert finding.status is Status.FAILURE
    assert f"sm_89, sm_90, sm_120, sm_121: none for this GPU, sm_{sm}" in finding.found
    assert str(finding.fix).count("pip") == 2
    assert "uninstall -y onnxruntime-gpu &&" in str(finding.fix)
    assert str(finding.fix).endswith(f"install onnxruntime-gpu --index-url {index}")
    assert finding.facts["covered"] is False


def test_what_a_kit_has_installed_is_mended_by_a_kit(registry_wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.prefix", "/opt/whycam/releases/0.1.0-abc")

    orin = only(software.cuda(recorded("orin-nano-jetpack-6.2", onnxruntime=runtime(registry_wheel))))
    thor = only(software.cuda(recorded("agx-thor-jetpack-7.0", onnxruntime=runtime(registry_wheel))))

    assert str(orin.fix).startswith("make kit PLATFORM=jetpack6 ONNXRUNTIME=onnxruntime_gpu-")
    assert "PLATFORM=jetpack7" in str(thor.fix)


def test_the_vendor_s_wheel_has(tmp_path: Path) -> None:
    library = write_cuda_library(tmp_path / "cuda.so", [[(CUBIN, 87)]])

    finding = only(software.cuda(recorded("orin-nano-jetpack-6.2", onnxruntime=runtime(library))))

    assert (finding.status, finding.facts["covered"]) == (Status.OK, True)


def test_code_that_does_not_find_cuda_is_told_by_what_it_lacks(tmp_path: Path) -> None:
    library = write_cuda_library(tmp_path / "cuda.so", [[(CUBIN, 87)]])
    lacking = "libcudnn.so.9: cannot open shared object file: No such file or directory"

    finding = only(software.cuda(recorded("orin-nano-jetpack-6.2", onnxruntime=runtime(library, cuda_problem=lacking))))

    assert finding.status is Status.FAILURE
    assert "libcudnn.so.9" in finding.found
    assert finding.fix == "sudo apt-get install -y nvidia-jetpack"


def test_a_gpu_that_onnx_runtime_cannot_use_is_a_pity_where_nobody_asks_for_it() -> None:
    jetson = recorded("orin-nano-jetpack-6.2", onnxruntime=runtime())

    assert only(software.cuda(jetson)).status is Status.WARNING
    assert only(software.onnxruntime(jetson)).status is Status.OK


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_a_camera_asks_for_must_be_there(provider: str) -> None:
    jetson = watching(recorded("orin-nano-jetpack-6.2", onnxruntime=runtime()), providers=[provider, "cpu"])

    finding = only(software.onnxruntime(jetson))

    assert finding.status is Status.FAILURE
    assert "1.31.1 with CPU, but the configuration asks for" in finding.found
    assert "jp6/cu126" in str(finding.fix)


def test_a_card_gets_the_public_wheel(registry_wheel: Path) -> None:
    desktop = recorded("desktop", onnxruntime=runtime(registry_wheel))

    told = software.judge_cuda(desktop, Gpu("GTX 1060", 61, tegra=False), runtime(registry_wheel))
    asked = software.judge_cuda(desktop, Gpu("RTX", None, tegra=False), runtime(registry_wheel, sm="89"))

    assert (told.status, asked.status) == (Status.FAILURE, Status.OK)
    assert str(told.fix).endswith("install onnxruntime-gpu")
    assert "jetson" not in str(told.fix)


def test_two_wheels_of_one_library_are_told() -> None:
    wheels = ["onnxruntime", "onnxruntime-gpu"]
    finding = only(software.onnxruntime(recorded("desktop", onnxruntime=runtime(wheels=wheels))))

    assert finding.status is Status.WARNING
    assert "uninstall -y onnxruntime onnxruntime-gpu && " in str(finding.fix)


def test_csi_cameras_need_gstreamer() -> None:
    wheel = opencv(gstreamer=False, wheels=["opencv-python-headless"])
    jetson = recorded("orin-nano-jetpack-6.2", opencv=wheel)

    assert only(software.opencv(jetson)).status is Status.OK
    finding = only(software.opencv(watching(jetson, source="csi://0")))

    assert finding.status is Status.FAILURE
    assert "uninstall -y opencv-python-headless && sudo apt-get install -y nvidia-opencv" in str(finding.fix)
    assert "--system-site-packages" in str(finding.fix)
    own = recorded("orin-nano-jetpack-6.2", opencv=opencv())
    assert only(software.opencv(watching(own, source="csi://0"))).status is Status.OK


@pytest.mark.parametrize(
    ("error", "told", "fix"),
    [
        ("crashes with SIGILL", "OpenCV crashes with SIGILL", "nvidia-opencv"),
        (
            "MissingDependencyError: OpenCV is not installed: run `pip install x`",
            "OpenCV is not installed",
            "nvidia-opencv",
        ),
        ("ImportError: numpy.core.multiarray failed to import", "numpy.core.multiarray", '"numpy<2"'),
    ],
)
def test_a_library_that_does_not_load_is_told_and_no_crash(error: str, told: str, fix: str) -> None:
    installation = recorded("orin-nano-jetpack-6.2")

    def fails() -> Any:
        raise NoAnswerError(error)

    with pytest.raises(NoAnswerError):
        installation.once("opencv", fails)
    finding = only(software.opencv(installation))

    assert finding.status is Status.FAILURE
    assert told in finding.found
    assert fix in str(finding.fix)


@pytest.mark.parametrize(("number", "dotted"), [("100300", "10.3.0"), ("8601", "8.6.1"), ("101303", "10.13.3")])
def test_tensorrt_is_told_by_its_version(number: str, dotted: str, registry_wheel: Path) -> None:
    said = runtime(registry_wheel, tensorrt=number, providers=[TENSORRT, CUDA, CPU])
    finding = only(software.tensorrt(recorded("orin-nano-jetpack-6.2", onnxruntime=said)))

    assert finding.found == f"version {dotted}, and ONNX Runtime has it"


def test_kernels_are_of_interest_where_onnx_runtime_can_use_a_gpu(registry_wheel: Path, tmp_path: Path) -> None:
    compiled = {"problem": None, "fix": None}

    without = Installation(Machine(tmp_path), None)
    without.once("onnxruntime", lambda: runtime(registry_wheel))
    assert list(software.kernels(without)) == []
    assert list(software.kernels(recorded("orin-nano-jetpack-6.2", onnxruntime=runtime()))) == []
    jetson = recorded("orin-nano-jetpack-6.2", onnxruntime=runtime(registry_wheel), kernels=compiled)
    assert only(software.kernels(jetson)).status is Status.OK


@pytest.mark.parametrize(
    ("problem", "fix", "told"),
    [
        ("PyCUDA is not installed", 'pip install "whycam[cuda]"', ' install "whycam[cuda]"'),
        (
            "CUDA's compiler nvcc is not installed",
            "sudo apt-get install -y g++ cuda-nvcc-12-6",
            "sudo apt-get install -y g++ cuda-nvcc-12-6",
        ),
        ("CUDA has no GPU here (no device)", None, "nvidia-smi"),
    ],
)
def test_what_keeps_frames_from_the_gpu_is_a_warning_that_says_what_to_install(
    problem: str, fix: str | None, told: str, registry_wheel: Path
) -> None:
    kernels = {"problem": problem, "fix": fix}
    finding = only(
        software.kernels(recorded("orin-nano-jetpack-6.2", onnxruntime=runtime(registry_wheel), kernels=kernels))
    )

    assert finding.status is Status.WARNING
    assert finding.found == f"{problem}: frames and features go through the CPU's memory"
    assert str(finding.fix).endswith(told)


def test_a_compiler_that_crashes_is_a_warning(registry_wheel: Path) -> None:
    jetson = recorded("orin-nano-jetpack-6.2", onnxruntime=runtime(registry_wheel))

    def crashes() -> Any:
        raise NoAnswerError("crashes (SIGSEGV)")

    with pytest.raises(NoAnswerError):
        jetson.once("kernels", crashes)
    finding = only(software.kernels(jetson))

    assert finding.status is Status.WARNING
    assert "crashes (SIGSEGV)" in finding.found


def test_the_libraries_of_this_machine_are_asked_in_processes_of_their_own() -> None:
    here = Installation(Machine(), None)

    import cv2
    import numpy as np
    import onnxruntime

    assert only(software.onnxruntime(here)).facts["version"] == onnxruntime.__version__
    assert only(software.opencv(here)).facts["version"] == cv2.__version__
    assert only(software.numpy(here)).facts["version"] == np.__version__
    assert only(software.python(here)).status is Status.OK
    # Where there is no GPU nobody asks for it, but the process answers.
    assert here.library("kernels").keys() == {"problem", "fix"}
