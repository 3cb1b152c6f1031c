"""PyCUDA as on a machine with a GPU, in the host's memory: streams that do nothing before somebody waits for them.

A GPU may do at once what it is asked, or much later; this one is always late, so that whoever has not waited finds what
was there before. It knows which thread has the context pushed, and refuses what CUDA would refuse without one.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.runtime.cuda.host_device import HostDevice


class Error(Exception):
    pass


class OutOfMemoryError(Error, MemoryError):
    pass


class CompileError(Error):
    stderr = "cc1plus: fatal error: cuda_runtime.h: No such file or directory"


class Cuda:
    """What happens on it, and what happened."""

    def __init__(self, *, integrated: bool = False) -> None:
        self.integrated = integrated
        self.memory = HostDevice()
        self.has_gpu = True
        self.compiles = True
        self.free: float = float("inf")
        """Bytes that may still be reserved, pinned ones too."""
        self.fails: str | None = None
        """What CUDA says at the next thing that it is asked for."""
        self.lost = False
        """Whether its context cannot be pushed any more."""
        self.streams: list[Stream] = []
        self.pinned: list[Pinned] = []
        self.lock = threading.RLock()
        self._pushed = threading.local()

    @property
    def pushed(self) -> int:
        """How often the context is pushed in this thread."""
        return getattr(self._pushed, "count", 0)

    def push(self) -> None:
        if self.lost:
            raise Error("context is destroyed")
        self._pushed.count = self.pushed + 1

    def pop(self) -> None:
        assert self.pushed
        self._pushed.count = self.pushed - 1

    def asked(self) -> None:
        """Something is asked of CUDA: a context must be current."""
        if not self.pushed:
            raise Error("invalid device context")
        if self.fails is not None:
            raise Error(self.fails)

    def reserve(self, size: int) -> int:
        self.asked()
        if size > self.free:
            raise OutOfMemoryError("out of memory")
        self.free -= size
        return self.memory.reserve(size)

    def synchronize(self) -> None:
        self.asked()
        for stream in list(self.streams):
            stream.synchronize()


class Stream:
    def __init__(self, cuda: Cuda) -> None:
        cuda.asked()
        self._cuda = cuda
        self._work: list[Callable[[], object]] = []
        cuda.streams.append(self)
        self.handle = len(cuda.streams)

    def add(self, work: Callable[[], object]) -> None:
        self._cuda.asked()
        with self._cuda.lock:
            self._work.append(work)

    def synchronize(self) -> None:
        with self._cuda.lock:
            work, self._work = self._work, []
            for each in work:
                each()


class Pinned:
    """Memory of the host that has an address of the device's."""

    def __init__(self, cuda: Cuda, size: int, *, mapped: bool) -> None:
        self._mapped = mapped
        self._address = cuda.reserve(size)
        self.__array_interface__ = {"shape": (size,), "typestr": "|u1", "data": (self._address, False), "version": 3}
        cuda.pinned.append(self)

    def get_device_pointer(self) -> int:
        assert self._mapped
        return self._address


def install(monkeypatch: pytest.MonkeyPatch, cuda: Cuda) -> None:
    """Put it in PyCUDA's place."""
    package, driver, compiler = (ModuleType(name) for name in ("pycuda", "pycuda.driver", "pycuda.compiler"))
    memory = cuda.memory

    def device(number: int) -> object:
        if not cuda.has_gpu:
            raise Error("no CUDA-capable device is detected")
        return SimpleNamespace(
            name=lambda: "Stub",
            get_attribute=lambda attribute: int(cuda.integrated),
            retain_primary_context=lambda: SimpleNamespace(push=cuda.push, pop=cuda.pop),
        )

    def module(source: str, **options: Any) -> object:
        cuda.asked()
        if not cuda.compiles:
            raise CompileError("nvcc compilation of kernel.cu failed\n[command: nvcc --cubin -O3 kernel.cu]")
        return SimpleNamespace(get_function=lambda name: _kernel(cuda, name))

    vars(driver).update(
        Error=Error,
        MemoryError=OutOfMemoryError,
        CompileError=CompileError,
        init=lambda: None,
        Device=device,
        device_attribute=SimpleNamespace(INTEGRATED=18),
        host_alloc_flags=SimpleNamespace(DEVICEMAP=2),
        get_version=lambda: (12, 6, 0),
        Context=SimpleNamespace(synchronize=cuda.synchronize),
        Stream=lambda: Stream(cuda),
        mem_alloc=cuda.reserve,
        mem_get_info=lambda: (1, 2),
        pagelocked_empty=lambda size, kind, mem_flags: np.asarray(Pinned(cuda, size, mapped=mem_flags == 2)),
        memcpy_htod_async=lambda to, values, stream: stream.add(lambda: memory.write(to, values)),
        memcpy_dtoh_async=lambda values, at, stream: stream.add(lambda: memory.read(at, values)),
        memcpy_dtod_async=lambda to, at, size, stream: stream.add(lambda: memory.copy(to, at, size)),
    )
    vars(compiler).update(SourceModule=module)
    for each in (package, driver, compiler):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    vars(package).update(driver=driver, compiler=compiler)


def _kernel(cuda: Cuda, name: str) -> Callable[..., None]:
    run = getattr(cuda.memory._kernels, f"run_{name}")
    kinds = {np.int32: ctypes.c_int32, np.float32: ctypes.c_float, np.uintp: ctypes.c_void_p}

    def launch(*arguments: Any, block: tuple[int, ...], grid: tuple[int, ...], stream: Stream) -> None:
        given = [kinds[type(each)](each.item()) for each in arguments]
        addresses = (ctypes.c_void_p * len(given))(*map(ctypes.addressof, given))

        # `given` is held: the addresses are those of its parts.
        stream.add(lambda held=given: run(grid[0], block[0], addresses))

    return launch
