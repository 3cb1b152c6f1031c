"""What the wheels of the three distributions hold and ask for."""

from __future__ import annotations

import email
import email.message
import zipfile
from pathlib import Path

import pytest

PACKAGES = {"runtime": "whycam", "export": "whycam_export", "calibration": "whycam_calibration"}


@pytest.mark.parametrize(("distribution", "package"), PACKAGES.items())
def test_a_wheel_holds_its_typed_package_and_its_licence_and_nothing_else(
    wheels: dict[str, Path], distribution: str, package: str
) -> None:
    names = zipfile.ZipFile(wheels[distribution]).namelist()

    assert f"{package}/__init__.py" in names
    assert f"{package}/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names} == {package, f"{package}-0.1.0.dist-info"}


def test_the_runtime_has_its_cuda_kernels(wheels: dict[str, Path]) -> None:
    assert "whycam/cuda/kernels.cu" in zipfile.ZipFile(wheels["runtime"]).namelist()


@pytest.mark.parametrize("distribution", PACKAGES)
def test_onnx_runtime_and_opencv_come_by_extra_only(wheels: dict[str, Path], distribution: str) -> None:
    unconditional = required(wheels[distribution], extra=None)

    assert not [name for name in unconditional if name.startswith(("onnxruntime", "opencv"))]


@pytest.mark.parametrize("distribution", ["runtime", "calibration"])
def test_what_a_device_installs_cannot_reach_tensorflow(wheels: dict[str, Path], distribution: str) -> None:
    names = [line.lower() for line in metadata(wheels[distribution]).get_all("Requires-Dist", [])]

    assert not [
        name for name in names if name.startswith(("tensorflow", "keras", "onnx-ir", "tf2onnx", "whycam-export"))
    ]


def test_the_runtime_does_without_onnx(wheels: dict[str, Path]) -> None:
    names = [line.lower() for line in metadata(wheels["runtime"]).get_all("Requires-Dist", [])]

    assert not [name for name in names if name.startswith("onnx>")]


def test_the_calibration_distribution_adds_its_subcommand(wheels: dict[str, Path]) -> None:
    assert "calibrate = whycam_calibration.commands:app" in entry_points(wheels["calibration"])


@pytest.mark.parametrize(("extra", "wheel"), [("cpu", "onnxruntime"), ("gpu", "onnxruntime-gpu")])
def test_each_extra_brings_one_onnx_runtime_and_one_opencv(wheels: dict[str, Path], extra: str, wheel: str) -> None:
    brought = required(wheels["runtime"], extra=extra)

    assert [name for name in brought if name.startswith("onnxruntime")] == [wheel]
    assert [name for name in brought if name.startswith("opencv")] == ["opencv-python-headless"]


def test_the_runtime_brings_the_command(wheels: dict[str, Path]) -> None:
    assert "whycam = whycam.commands:main" in entry_points(wheels["runtime"])


def test_the_export_distribution_adds_its_subcommands(wheels: dict[str, Path]) -> None:
    lines = entry_points(wheels["export"])

    assert "[whycam.commands]" in lines
    assert {line.split(" = ")[0] for line in lines if " = " in line} == {"train", "export", "evaluate", "demo"}


def metadata(wheel: Path) -> email.message.Message:
    return email.message_from_bytes(_read(wheel, "METADATA"))


def required(wheel: Path, *, extra: str | None) -> list[str]:
    """Names of the distributions that `extra` asks for; without one, those asked for unconditionally."""
    lines: list[str] = metadata(wheel).get_all("Requires-Dist", [])
    ending = f"extra == '{extra}'"
    chosen = [line for line in lines if (line.endswith(ending) if extra else "extra ==" not in line)]
    return [line.split(";")[0].split(">")[0].split("=")[0].strip() for line in chosen]


def entry_points(wheel: Path) -> list[str]:
    return _read(wheel, "entry_points.txt").decode().splitlines()


def _read(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (entry for entry in archive.namelist() if entry.endswith(f".dist-info/{name}"))
        return archive.read(path)
