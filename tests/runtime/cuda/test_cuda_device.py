"""What is asked of PyCUDA: in a context, in the right stream, waited for, used again. On a stub that is always late."""

from __future__ import annotations

import atexit
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundle import SIZE, T

from tests.runtime.cuda.pycuda_stub import Cuda, install
from whycam.bundle import Bundle
from whycam.cuda.array import Pool
from whycam.cuda.cuda_device import CudaDevice, CudaGpu
from whycam.cuda.frames import FrameLoader
from whycam.detect import Detector, Model, sessions
from whycam.detect.binding import run_bound
from whycam.detect.resize import resize
from whycam.errors import DeviceError, DeviceMemoryError, InputError, MissingDependencyError


@pytest.fixture(params=[False, True], ids=["card", "integrated"])
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cuda]:
    stub = Cuda(integrated=request.param)
    install(monkeypatch, stub)
    monkeypatch.setenv("WHYCAM_ENGINES", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    # ONNX Runtime's CPU provider takes its memory for its own.
    monkeypatch.setattr(CudaDevice, "name", "cpu")
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    yield stub
    for close in at_exit:
        close()
    assert stub.pushed == 0


@pytest.fixture
def device(cuda: Cuda) -> CudaDevice:
    return CudaDevice(CudaGpu())


@pytest.fixture
def pair(bundle: Path, device: CudaDevice, monkeypatch: pytest.MonkeyPatch) -> tuple[Model, Model]:
    """A model on the host, and one on the stub."""

    def in_stream(*arguments: Any) -> dict[str, Any]:
        # As ONNX Runtime does, in the stream of the model that it was given, and in no other.
        device._stream.synchronize()
        return run_bound(*arguments)

    monkeypatch.setattr(sessions, "run_bound", in_stream)
    opened = Bundle.open(bundle)
    return Model(opened, providers=["cpu"]), Model(opened, providers=["cpu"], device=device)


def noise(seed: int, count: int, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def test_decisions_and_explanations_wait_for_what_they_need(pair: tuple[Model, Model]) -> None:
    detectors = [Detector(model) for model in pair]
    for index, frame in enumerate(noise(0, 4 * T)):
        # A gap, whose first frame begins a window, and a picture that was seen before it is taken.
        time = index * 0.1 + (10 if index > 2 * T else 0)
        wanted, got = (each.push(frame, time) for each in detectors)
        assert wanted is not None
        assert got is not None
        assert list(got.scores.values()) == pytest.approx(list(wanted.scores.values()), abs=1e-6, nan_ok=True)
    for reference in ("none", "usual"):
        for method in ("grad-cam", "layercam", "saliency"):
            wanted_map, got_map = (each.explain(method, "fight", "normal", reference=reference) for each in detectors)
            largest = float(wanted_map.heatmaps.max())
            np.testing.assert_allclose(got_map.heatmaps, wanted_map.heatmaps, atol=1e-5 * largest)
            np.testing.assert_allclose(got_map.relevance, wanted_map.relevance, atol=1e-6)


def test_pictures_that_were_seen_before_they_are_taken_are_whole(pair: tuple[Model, Model]) -> None:
    host, there = (Detector(model) for model in pair)
    for frame in noise(1, 2 * T, 40, 30):
        seen = there.model.see(frame)
        due = there.take(seen)
        assert due is not None
        got = there.decide(due)
        # The kernel rounds once: the host is given what it made.
        wanted = host.push(np.asarray(seen))
        assert wanted is not None
        assert list(got.scores.values()) == pytest.approx(list(wanted.scores.values()), abs=1e-6, nan_ok=True)


def test_graphs_that_the_cpu_runs_get_what_lies_on_the_gpu_and_give_it_back(
    pair: tuple[Model, Model], cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What ONNX Runtime's CPU provider cannot reach.
    monkeypatch.setattr(CudaDevice, "name", "cuda")
    monkeypatch.setattr(sessions, "run_bound", run_bound)
    host, there = (Detector(model) for model in pair)
    for frame in noise(4, 2 * T):
        wanted, got = host.push(frame), there.push(frame)
        assert wanted is not None
        assert got is not None
        assert list(got.scores.values()) == pytest.approx(list(wanted.scores.values()), abs=1e-6, nan_ok=True)
    wanted_map, got_map = (each.explain("grad-cam", "fight") for each in (host, there))
    np.testing.assert_allclose(got_map.heatmaps, wanted_map.heatmaps, atol=1e-6)

    cuda.fails = "unspecified launch failure"
    with pytest.raises(DeviceError, match="unspecified launch failure"):
        there.model.samples([there.newest.image], [0.0])
    cuda.fails = None


def test_threads_push_the_context_for_themselves_and_leave_none(cuda: Cuda, device: CudaDevice) -> None:
    loader = FrameLoader(Pool(device), SIZE, SIZE)
    left: list[int] = []

    def bring(seed: int) -> None:
        for frame in noise(seed, 10, 40, 30 + seed):
            made = loader.load(frame)
            assert np.abs(np.asarray(made).astype(int) - resize(frame, SIZE, SIZE)).max() <= 1
            del made
        left.append(cuda.pushed)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(bring, (1, 2)))
    assert left == [0, 0]


def test_what_is_written_may_be_changed_at_once(device: CudaDevice) -> None:
    array = Pool(device).empty((4,))
    values = np.arange(4, dtype=np.float32)
    array.write(values)
    values[:] = 7
    assert np.asarray(array).tolist() == [0, 1, 2, 3]


def test_a_frame_on_its_way_is_pinned_and_on_a_shared_memory_not_copied(cuda: Cuda, device: CudaDevice) -> None:
    loader = FrameLoader(Pool(device), SIZE, SIZE)
    for frame in noise(2, 5, 40, 30):
        loader.load(frame)
    assert len(cuda.pinned) == 1
    assert cuda.memory.bytes_written == (0 if cuda.integrated else 5 * frame.nbytes)


def test_what_a_model_leaves_the_next_one_takes(cuda: Cuda, device: CudaDevice, bundle: Path) -> None:
    def watch() -> int:
        model = Model(Bundle.open(bundle), providers=["cpu"], device=device.beside())
        model.see(noise(3, 1, 40, 30)[0])
        reserved.append(len(cuda.memory._memory))
        return len(cuda.streams)

    reserved: list[int] = []
    # The test's own stream, the model's, and that of its frames.
    assert [watch() for _ in range(3)] == [3, 3, 3]
    assert len(cuda.pinned) == 1
    assert len(set(reserved)) == 1


def test_memory_that_changes_hands_has_no_work_in_it(cuda: Cuda, device: CudaDevice) -> None:
    ones = Pool(device).array(np.ones(64, np.float32))
    array = Pool(device).empty((64,))
    array.copy_from(ones)
    address = array.address
    del array
    zeros = Pool(device.beside()).array(np.zeros(64, np.float32))
    assert zeros.address == address
    # What was asked of it in another stream before has been done before.
    device.finish()
    assert not np.asarray(zeros).any()


def test_too_little_memory_is_said_in_a_line(cuda: Cuda, device: CudaDevice) -> None:
    cuda.free = 1000
    with pytest.raises(DeviceMemoryError, match=r"the GPU has no 0\.5 MiB left: run fewer cameras"):
        Pool(device).empty((100_000,))
    with pytest.raises(DeviceMemoryError, match=r"no 0\.1 MiB can be pinned: run fewer cameras"):
        device.staging(100_000)
    assert cuda.pushed == 0


def test_what_cuda_says_is_wrong_is_said_in_a_line(cuda: Cuda, device: CudaDevice) -> None:
    array = Pool(device).array(np.ones(3, np.float32))
    cuda.fails = "an illegal memory access\nwas encountered"
    with pytest.raises(DeviceError, match=r"^the GPU does not go on \(an illegal memory access was encountered\)"):
        array.copy()
    assert cuda.pushed == 0
    cuda.fails = None
    cuda.lost = True
    with pytest.raises(DeviceError, match=r"^the GPU does not go on \(context is destroyed\)"):
        array.copy()
    cuda.lost = False


def test_what_is_missing_is_named_with_what_installs_it(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "sudo apt-get install -y g[+][+] cuda-nvcc-12-6 cuda-cudart-dev-12-6"
    cuda.compiles = False
    with pytest.raises(
        MissingDependencyError, match=rf"nvcc does not load \(cc1plus: fatal error: cuda_runtime.h: .*\): run `{line}`"
    ):
        CudaGpu()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingDependencyError, match=f"CUDA's compiler nvcc is not installed: run `{line}`"):
        CudaGpu()
    cuda.has_gpu = False
    with pytest.raises(InputError, match="CUDA has no GPU here"):
        CudaGpu()
