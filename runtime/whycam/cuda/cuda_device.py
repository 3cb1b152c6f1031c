"""The GPU, through PyCUDA, beside ONNX Runtime in one context."""

from __future__ import annotations

import atexit
import logging
import shutil
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whycam.cuda.array import DeviceArray
from whycam.cuda.kernels import source
from whycam.cuda.turns import TURNS
from whycam.errors import DeviceError, DeviceMemoryError, InputError, MissingDependencyError
from whycam.libraries import PYCUDA, needs

log = logging.getLogger(__name__)

_NVCC = "/usr/local/cuda/bin/nvcc"
"""Where CUDA's packages put it, which services have not in their PATH."""
_BLOCK = 128
"""Threads in a block: few registers are used, so that any number of warps will do."""


def cuda_device() -> CudaDevice | None:
    """The first GPU's memory with a stream of its own; None, with the reason in the log, where it cannot be used."""
    try:
        return CudaDevice(gpu())
    except (MissingDependencyError, InputError) as error:
        log.info("frames and features go through the CPU's memory: %s", error)
        return None


_opening = threading.Lock()


def gpu() -> CudaGpu:
    """The first GPU.

    Raises MissingDependencyError without PyCUDA, or where CUDA's compiler is missing or does not compile the kernels;
    InputError without a GPU.
    """
    # Models are loaded in threads of their own, and the kernels are to be compiled once.
    with _opening:
        return _gpu()


@cache
def _gpu() -> CudaGpu:
    return CudaGpu()


class CudaGpu:
    """The first GPU: its context, the one that ONNX Runtime uses too, and whycam's kernels, compiled for it."""

    def __init__(self) -> None:
        """See `gpu`."""
        # Imported here: the detector's package imports this module.
        from whycam.detect.engines import kernels_folder

        with needs(PYCUDA):
            import pycuda.driver as driver
            from pycuda.compiler import SourceModule
        self.driver: Any = driver
        try:
            driver.init()
            device = driver.Device(0)
            self.name = str(device.name())
            """What NVIDIA calls it."""
            self.integrated = bool(device.get_attribute(driver.device_attribute.INTEGRATED))
            """Whether it shares its memory with the CPU, as a Jetson's does."""
            # As pycuda.autoprimaryctx, which would leave it pushed in the thread that imports it: the end of that
            # thread would abort the process.
            self._context = device.retain_primary_context()
        except driver.Error as error:
            raise InputError(f"CUDA has no GPU here ({_brief(error)}): see `whycam doctor`") from None
        self._kept: list[object] = []
        self._lock = threading.Lock()
        self._left: dict[int, deque[int]] = defaultdict(deque)
        self.streams: deque[Any] = deque()
        """Those that nobody works in: they are not destroyed, for that may be done in this thread alone."""
        self.stagings: dict[int, deque[tuple[NDArray[np.uint8], int]]] = defaultdict(deque)
        """By size, those that nobody uses: memory of the host, and the device's address of it or for it."""
        with self.current():
            nvcc = shutil.which("nvcc") or shutil.which(_NVCC)
            version = "-".join(str(part) for part in driver.get_version()[:2])
            install = f"sudo apt-get install -y g++ cuda-nvcc-{version} cuda-cudart-dev-{version}"
            if nvcc is None:
                raise MissingDependencyError("CUDA's compiler nvcc", install)
            kept = kernels_folder()
            try:
                self._module = SourceModule(
                    source(),
                    nvcc=nvcc,
                    no_extern_c=True,
                    options=["-O3", "--fmad=false"],
                    cache_dir=False if kept is None else str(kept),
                )
            except (driver.Error, OSError) as error:
                # Where it is the compiler's, its own words stand behind a long command.
                said = getattr(error, "stderr", None) or error
                raise MissingDependencyError("CUDA's compiler nvcc", install, _brief(said)) from error
        self._functions: dict[str, Any] = {}
        atexit.register(self._close)

    @contextmanager
    def current(self) -> Iterator[None]:
        """The context is current in this thread; raises DeviceError for what CUDA says is wrong."""
        with TURNS.shared():
            try:
                self._context.push()
                try:
                    yield
                finally:
                    self._context.pop()
            except self.driver.Error as error:
                raise DeviceError(f"the GPU does not go on ({_brief(error)}): see `whycam doctor`") from error

    def free_memory(self) -> int:
        """Bytes of its memory that nobody uses, whichever the process."""
        with self.current():
            return int(self.driver.mem_get_info()[0])

    def keep(self, memory: object) -> None:
        """Hold `memory` to the end of the process."""
        with self._lock:
            self._kept.append(memory)

    def reserve(self, size: int) -> int:
        """See `Device`."""
        with self.current():
            try:
                address = self._left[size].pop()
            except IndexError:
                return self._allocate(size)
            # Who left it may have asked for more than was done by then, in another stream.
            self.driver.Context.synchronize()
            return address

    def release(self, address: int, size: int) -> None:
        """See `Device`."""
        self._left[size].append(address)

    def _allocate(self, size: int) -> int:
        try:
            memory = self.driver.mem_alloc(size)
        except self.driver.MemoryError:
            raise DeviceMemoryError(
                f"the GPU has no {size / (1 << 20):.1f} MiB left: run fewer cameras or a smaller model on it"
            ) from None
        self.keep(memory)
        return int(memory)

    def function(self, kernel: str) -> Any:
        """The kernel of that name; the context must be current."""
        if kernel not in self._functions:
            self._functions[kernel] = self._module.get_function(kernel)
        return self._functions[kernel]

    def _close(self) -> None:
        # What is freed later would be freed in no context.
        with self.current():
            self.streams.clear()
            self.stagings.clear()
            self._kept.clear()
            self._functions.clear()
            del self._module


class CudaDevice:
    """A GPU's memory and one of its streams: what is asked for is done in turn."""

    name = "cuda"

    def __init__(self, of: CudaGpu) -> None:
        """A stream of its own."""
        self._gpu = of
        self._driver = of.driver
        with of.current():
            try:
                self._stream = of.streams.popleft()
            except IndexError:
                # Of the kind that CUDA's default stream waits for: in that ONNX Runtime copies what a graph reads on
                # the host.
                self._stream = self._driver.Stream()

    def __del__(self) -> None:
        # Not where there was no stream to be had.
        if hasattr(self, "_stream"):
            self._gpu.streams.append(self._stream)

    @property
    def stream(self) -> int:
        """See `Device`."""
        return int(self._stream.handle)

    def reserve(self, size: int) -> int:
        """See `Device`."""
        return self._gpu.reserve(size)

    def release(self, address: int, size: int) -> None:
        """See `Device`."""
        self._gpu.release(address, size)

    def write(self, address: int, values: NDArray[Any]) -> None:
        """See `Device`."""
        with self._gpu.current():
            self._driver.memcpy_htod_async(address, values, self._stream)
            # Where the GPU reads the host's pages itself, the values may not have been read yet.
            self._stream.synchronize()

    def read(self, address: int, values: NDArray[Any]) -> None:
        """See `Device`."""
        with self._gpu.current():
            self._driver.memcpy_dtoh_async(values, address, self._stream)
            self._stream.synchronize()

    def copy(self, target: int, source: int, size: int) -> None:
        """See `Device`."""
        with self._gpu.current():
            self._driver.memcpy_dtod_async(target, source, size, self._stream)

    def launch(self, kernel: str, threads: int, *arguments: DeviceArray | np.int32 | np.float32 | None) -> None:
        """See `Device`."""
        given = [_argument(each) for each in arguments]
        with self._gpu.current():
            self._gpu.function(kernel)(
                *given, block=(_BLOCK, 1, 1), grid=(-(-threads // _BLOCK), 1), stream=self._stream
            )

    def staging(self, size: int) -> CudaStaging:
        """See `Device`."""
        return CudaStaging(self, size)

    def beside(self) -> CudaDevice:
        """See `Device`."""
        return CudaDevice(self._gpu)

    def finish(self) -> None:
        """See `Device`."""
        with self._gpu.current():
            self._stream.synchronize()


class CudaStaging:
    """Pinned memory; where the GPU shares the host's, mapped into its addresses, so that nothing is copied."""

    def __init__(self, device: CudaDevice, size: int) -> None:
        """See `Device.staging`."""
        self._device = device
        try:
            self.host, self.address = device._gpu.stagings[size].popleft()
        except IndexError:
            self.host, self.address = self._made(size)

    def __del__(self) -> None:
        if hasattr(self, "host"):
            self._device._gpu.stagings[self.host.nbytes].append((self.host, self.address))

    def send(self) -> None:
        """See `Staging`."""
        gpu = self._device._gpu
        if not gpu.integrated:
            with gpu.current():
                gpu.driver.memcpy_htod_async(self.address, self.host, self._device._stream)

    def _made(self, size: int) -> tuple[NDArray[np.uint8], int]:
        gpu, driver = self._device._gpu, self._device._gpu.driver
        with gpu.current():
            flags = driver.host_alloc_flags.DEVICEMAP if gpu.integrated else 0
            try:
                host: NDArray[np.uint8] = driver.pagelocked_empty(size, np.uint8, mem_flags=flags)
            except driver.MemoryError:
                raise DeviceMemoryError(f"no {size / (1 << 20):.1f} MiB can be pinned: run fewer cameras") from None
            gpu.keep(host)
            allocation: Any = host.base
            return host, int(allocation.get_device_pointer()) if gpu.integrated else gpu.reserve(size)


def _argument(value: DeviceArray | np.int32 | np.float32 | None) -> np.generic:
    if isinstance(value, (np.int32, np.float32)):
        return value
    pointer: np.generic = np.uintp(0 if value is None else value.address)
    return pointer


def _brief(error: object) -> str:
    return " ".join(str(error).split())[:200]
