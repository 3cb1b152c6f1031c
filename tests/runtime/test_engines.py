"""Where TensorRT's engines are kept, as far as that can be tried without TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from whycam.detect import engines
from whycam.detect.engines import engine_folder, gpu_memory

SHA = "ab" * 32


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHYCAM_ENGINES", str(tmp_path))
    return tmp_path


def test_an_engine_is_kept_by_all_that_it_depends_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"_tensorrt": "100300", "_capability": "87", "power_mode": "0002"}
    folders = []
    for changed in ({}, {"_tensorrt": "100400"}, {"_capability": "110"}, {"power_mode": "0000"}):
        for name, value in (known | changed).items():
            monkeypatch.setattr(engines, name, lambda value=value: value)
        folders.append(engine_folder(SHA))
    folders.append(engine_folder("cd" * 32))

    assert len(set(folders)) == 5
    assert folders[0].parent == root
    for part in (SHA[:16], "trt100300", "sm87", "power0002"):
        assert part in folders[0].name


def test_what_cannot_be_asked_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(engines, "_capability", missing)

    assert "smunknown" in engine_folder(SHA).name


def test_without_a_folder_named_it_is_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WHYCAM_ENGINES")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    assert engine_folder(SHA).parent == tmp_path / "cache" / "whycam" / "engines"


def test_the_memory_is_that_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    class Driver:
        """One GPU of 8 GB."""

        def cuInit(self, flags: int) -> int:  # noqa: N802, as CUDA calls it
            return 0

        def cuDeviceGet(self, device: Any, index: int) -> int:  # noqa: N802, as CUDA calls it
            return 0

        def cuDeviceTotalMem_v2(self, total: Any, device: Any) -> int:  # noqa: N802, as CUDA calls it
            total._obj.value = 7_990_919_168
            return 0

    monkeypatch.setattr(engines.ctypes, "CDLL", lambda name: Driver())
    assert gpu_memory() == 7_990_919_168
    monkeypatch.setattr(Driver, "cuInit", lambda self, flags: 100)
    assert gpu_memory() is None


def test_without_a_driver_the_memory_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(engines.ctypes, "CDLL", missing)
    assert gpu_memory() is None
