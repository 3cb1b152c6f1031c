"""Which GPUs a CUDA library has code for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.doctor.cuda_library import CUBIN, PTX, write_cuda_library
from whycam.doctor.cuda_code import CudaCode, cuda_code


def test_architectures_are_read_from_all_containers(tmp_path: Path) -> None:
    containers = [[(CUBIN, 89), (CUBIN, 90)], [(CUBIN, 120)], [(PTX, 90), (CUBIN, 89)]]
    found = cuda_code(write_cuda_library(tmp_path / "lib.so", containers))

    assert found == CudaCode(frozenset({89, 90, 120}), frozenset({90}))
    assert str(found) == "sm_89, sm_90, sm_120, PTX 90"


@pytest.mark.parametrize(
    ("cubins", "ptx", "sm", "tegra", "runs"),
    [
        ({89, 90, 120, 121}, set(), 87, True, False),
        ({89, 90, 120, 121}, set(), 110, True, False),
        ({80, 87}, set(), 87, True, True),
        ({80}, set(), 87, True, False),
        ({80}, set(), 86, False, True),
        ({86}, set(), 80, False, False),
        ({80}, set(), 90, False, False),
        (set(), {80}, 87, True, True),
        (set(), {90}, 87, True, False),
    ],
)
def test_code_runs_where_nvidia_says_that_it_does(
    cubins: set[int], ptx: set[int], sm: int, tegra: bool, runs: bool
) -> None:
    assert CudaCode(frozenset(cubins), frozenset(ptx)).runs_on(sm, tegra=tegra) is runs


def test_a_library_without_gpu_code_holds_none() -> None:
    import onnxruntime.capi

    library = next(Path(onnxruntime.capi.__file__).parent.glob("onnxruntime_pybind11_state*.so"))
    assert cuda_code(library) == CudaCode(frozenset(), frozenset())


@pytest.mark.parametrize("length", [0, 5, 70, 300])
def test_what_is_no_whole_library_is_refused_not_misread(tmp_path: Path, length: int) -> None:
    path = write_cuda_library(tmp_path / "lib.so", [[(CUBIN, 89)]])
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises((ValueError, OSError)):
        cuda_code(path)


def test_an_entry_of_no_length_does_not_go_on_for_ever(tmp_path: Path) -> None:
    path = write_cuda_library(tmp_path / "lib.so", [[(CUBIN, 89)]])
    data = bytearray(path.read_bytes())
    at = data.index(bytes.fromhex("50ed55ba")) + 16
    data[at + 4 : at + 16] = bytes(12)
    path.write_bytes(data)

    assert cuda_code(path).cubins == {89}
