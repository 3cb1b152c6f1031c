"""Where TensorRT's engines are kept, as far as that can be tried without TensorRT."""

from __future__ import annotations

from pathlib import Path

import pytest

from whycam.detect import engines
from whycam.detect.engines import TENSORRT, engine_folder, with_engines

CPU = "CPUExecutionProvider"
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


def test_only_tensorrt_gets_options_and_numbers_as_exact_as_the_graphs() -> None:
    assert with_engines([CPU], "features.int8.onnx", SHA) == [CPU]

    (name, options), cpu = with_engines([TENSORRT, CPU], "features.int8.onnx", SHA)

    assert (name, cpu) == (TENSORRT, CPU)
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(engine_folder(SHA))
    assert (options["trt_int8_enable"], options["trt_fp16_enable"]) == (True, False)
    assert with_engines([TENSORRT, CPU], "head.onnx", SHA)[0][1]["trt_int8_enable"] is False


def test_the_folder_is_made_with_all_above_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHYCAM_ENGINES", str(root / "cache" / "whycam" / "engines"))

    with_engines([TENSORRT, CPU], "head.onnx", SHA)

    assert engine_folder(SHA).is_dir()


def test_where_no_folder_can_be_made_it_runs_without_and_says_so(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "file").touch()
    monkeypatch.setenv("WHYCAM_ENGINES", str(root / "file" / "engines"))

    (_, options), _ = with_engines([TENSORRT, CPU], "features.int8.onnx", SHA)

    assert options == {"trt_int8_enable": True, "trt_fp16_enable": False}
    assert "$WHYCAM_ENGINES" in caplog.text
