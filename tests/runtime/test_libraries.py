"""What is missing is answered with the line that installs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import BLUE

from whycam import libraries
from whycam.libraries import MATPLOTLIB, ONNXRUNTIME, OPENCV, install_line

INSTALL = 'run `pip install "whycam[cpu]"`'


def without(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`whycam` in a Python that cannot import `module`."""
    code = f"import sys; sys.modules[{module!r}] = None; from whycam.commands import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "name"), [("onnxruntime", "ONNX Runtime"), ("cv2", "OpenCV"), ("matplotlib", "Matplotlib")]
)
def test_a_missing_library_is_answered_with_its_install_line(
    module: str, name: str, built_bundle: Path, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    result = without(module, "score", make_video([BLUE] * 5), "-b", built_bundle, "-o", tmp_path / "out")

    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == f"whycam: {name} is not installed: {INSTALL}\n"


def test_explain_needs_matplotlib_for_a_picture_alone(
    built_bundle: Path, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    video = make_video([BLUE] * 5)
    arguments = ("explain", video, "-b", built_bundle, "--at", 0.4, "-o")

    assert INSTALL in without("matplotlib", *arguments, tmp_path / "why.png").stderr
    assert without("matplotlib", *arguments, tmp_path / "why.npz").returncode == 0


def test_a_library_that_does_not_load_says_why(tmp_path: Path, built_bundle: Path) -> None:
    broken = tmp_path / "onnxruntime.py"
    broken.write_text("raise ImportError('libcuda.so.1: cannot open shared object file')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import whycam; whycam.load({str(built_bundle)!r})"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert f"ONNX Runtime does not load (libcuda.so.1: cannot open shared object file): {INSTALL}" in result.stderr


@pytest.mark.parametrize("package", ["whycam", "whycam_export", "whycam_calibration"])
def test_onnx_runtime_gathers_nothing_for_its_maker(package: str, built_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip(package)
    code = """
import importlib, sys
importlib.import_module(sys.argv[1])
import onnxruntime
onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
"""
    # It gathers nothing by itself where it is told that it is tested.
    kept = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": ""}

    subprocess.run(
        [sys.executable, "-c", code, package, built_bundle / "features.onnx"], check=True, env={**kept, **home}
    )

    assert list(tmp_path.rglob("onnxruntime.db")) == []


@pytest.mark.parametrize(
    ("release", "library", "line"),
    [
        ("# R36 (release), REVISION: 4.3", ONNXRUNTIME, "pip install onnxruntime-gpu --index-url https://"),
        ("# R36 (release), REVISION: 4.3", OPENCV, "sudo apt-get install -y nvidia-opencv"),
        ("# R36 (release), REVISION: 4.3", MATPLOTLIB, "pip install matplotlib"),
    ],
)
def test_a_jetson_is_told_of_its_vendors_builds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str, library: libraries.Library, line: str
) -> None:
    (tmp_path / "nv_tegra_release").write_text(release)
    monkeypatch.setattr(libraries, "_JETSON_RELEASE", tmp_path / "nv_tegra_release")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")

    assert install_line(library).startswith(line)
