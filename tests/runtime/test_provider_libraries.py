"""Why a provider for the GPU does not start, which ONNX Runtime does not say but on stderr."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest

from whycam.detect import provider_libraries
from whycam.detect.providers import CPU, CUDA, TENSORRT

FILES = {CUDA: "libonnxruntime_providers_cuda.so", TENSORRT: "libonnxruntime_providers_tensorrt.so"}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an ONNX Runtime's libraries."""
    folder = tmp_path / "onnxruntime" / "capi"
    folder.mkdir(parents=True)
    monkeypatch.setattr(onnxruntime, "__file__", str(folder.parent / "__init__.py"))
    return folder


def test_a_library_that_does_not_load_is_the_reason(installed: Path) -> None:
    for provider, file in FILES.items():
        (installed / file).write_bytes(b"no library")
        assert provider_libraries.library_of(provider) == installed / file
        assert f"{file}: " in provider_libraries.why_not_started(provider)


def test_one_that_loads_lacks_its_gpu(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_libraries, "load_problem", lambda library: None)
    (installed / FILES[CUDA]).touch()
    monkeypatch.setattr(provider_libraries, "compute_capability", lambda: None)
    assert provider_libraries.why_not_started(CUDA) == "CUDA's driver knows no GPU here"
    monkeypatch.setattr(provider_libraries, "compute_capability", lambda: "87")
    assert provider_libraries.why_not_started(CUDA) == "its device is missing"


def test_the_cpu_has_no_library_of_its_own(installed: Path) -> None:
    assert provider_libraries.library_of(CPU) is None


def test_what_pip_has_not_installed_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def preload() -> None:
        asked.append(1)
        print("Failed to load libcublas.so.13")

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload, raising=False)
    provider_libraries.load_wheels.cache_clear()
    provider_libraries.load_wheels()
    provider_libraries.load_wheels()
    assert (asked, capfd.readouterr()) == ([1], ("", ""))
