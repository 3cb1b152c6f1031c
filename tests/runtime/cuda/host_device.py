"""A device for tests where there is no GPU: host memory, and the CUDA kernels compiled for the CPU."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
import threading
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from whycam.cuda import kernels
from whycam.cuda.array import DeviceArray

_ALIGNMENT = 256
_BLOCK = 128
_POISON = 0xFFC00000
"""What new memory is full of, plus the number of its block: NaN as float32, so that it shows where it is used."""

_WARNINGS = ["-Wall", "-Wextra", "-Wdouble-promotion", "-Werror"]
_TYPES: dict[str, type[np.generic]] = {"r": np.float32, "w": np.float32, "R": np.uint8, "W": np.uint8}


class HostDevice:
    """A `whycam.cuda.device.Device` in host memory, which ONNX Runtime binds as its own. It counts what it is asked.

    What a GPU may do without a word fails here: memory that nobody has reserved, arguments that a kernel does not take,
    a kernel that writes beside its output.
    """

    name = "cpu"
    stream = None

    def __init__(self) -> None:
        """Skips the test that asks for it where there is no compiler."""
        self._kernels = _compiled()
        self._memory: dict[int, NDArray[np.uint8]] = {}
        self._left: dict[int, list[int]] = defaultdict(list)
        self._lock = threading.Lock()
        self.launches: Counter[str] = Counter()
        """How often each kernel has run."""
        self.bytes_read = 0
        """From the device to the host."""
        self.bytes_written = 0
        """From the host to the device."""
        self.bytes_copied = 0
        """Within the device."""

    def reserve(self, size: int) -> int:
        with self._lock:
            if self._left[size]:
                return self._left[size].pop()
        # On both sides of it lies memory that nobody may touch.
        with self._lock:
            words = np.full(-(-size // 4) + 3 * _ALIGNMENT // 4, _POISON + len(self._memory), np.uint32)
            memory = words.view(np.uint8)
            address = (memory.ctypes.data // _ALIGNMENT + 2) * _ALIGNMENT
            self._memory[address] = memory[: address - memory.ctypes.data + size + _ALIGNMENT]
        return address

    def release(self, address: int, size: int) -> None:
        self._check(address, size)
        ctypes.memset(address, _POISON, size)
        self._left[size].append(address)

    def write(self, address: int, values: NDArray[Any]) -> None:
        self._check(address, values.nbytes, values)
        ctypes.memmove(address, values.ctypes.data, values.nbytes)
        with self._lock:
            self.bytes_written += values.nbytes

    def read(self, address: int, values: NDArray[Any]) -> None:
        self._check(address, values.nbytes, values)
        ctypes.memmove(values.ctypes.data, address, values.nbytes)
        with self._lock:
            self.bytes_read += values.nbytes

    def copy(self, target: int, source: int, size: int) -> None:
        self._check(target, size)
        self._check(source, size)
        ctypes.memmove(target, source, size)
        with self._lock:
            self.bytes_copied += size

    def launch(self, kernel: str, threads: int, *arguments: DeviceArray | np.int32 | np.float32 | None) -> None:
        kinds = getattr(self._kernels, f"kinds_{kernel}")
        kinds.restype = ctypes.c_char_p
        taken = kinds().decode()
        if len(arguments) != len(taken):
            raise TypeError(f"{kernel} takes {len(taken)} arguments, got {len(arguments)}")
        given = [self._argument(kind, argument) for kind, argument in zip(taken, arguments, strict=True)]
        outputs = [argument for kind, argument in zip(taken, arguments, strict=True) if kind in "wW"]
        before = [self._surroundings(array) for array in outputs]
        addresses = (ctypes.c_void_p * len(given))(*map(ctypes.addressof, given))
        getattr(self._kernels, f"run_{kernel}")(-(-threads // _BLOCK), _BLOCK, addresses)
        if any((self._surroundings(array) != were).any() for array, were in zip(outputs, before, strict=True)):
            raise AssertionError(f"{kernel} wrote beside its output")
        with self._lock:
            self.launches[kernel] += 1

    def staging(self, size: int) -> HostStaging:
        return HostStaging(self, size)

    def finish(self) -> None:
        pass

    def beside(self) -> HostDevice:
        return self

    def _surroundings(self, array: Any) -> NDArray[np.uint8]:
        # The rest of its block, and what lies next to that.
        memory = self._block(array.address, array.nbytes)
        start = array.address - memory.ctypes.data
        return np.delete(memory, np.s_[start : start + array.nbytes])

    def _argument(self, kind: str, argument: DeviceArray | np.int32 | np.float32 | None) -> Any:
        if isinstance(argument, np.int32) and kind == "i":
            return ctypes.c_int32(int(argument))
        if isinstance(argument, np.float32) and kind == "f":
            return ctypes.c_float(float(argument))
        if argument is None and kind in "rR":
            return ctypes.c_void_p(None)
        if isinstance(argument, DeviceArray) and argument.dtype == _TYPES.get(kind):
            self._check(argument.address, argument.nbytes)
            return ctypes.c_void_p(argument.address)
        raise TypeError(f"a kernel's argument {argument!r} where it takes '{kind}'")

    def _check(self, address: int, size: int, values: NDArray[Any] | None = None) -> None:
        self._block(address, size)
        if values is not None and not values.flags.c_contiguous:
            raise ValueError("an array with gaps")

    def _block(self, address: int, size: int) -> NDArray[np.uint8]:
        for start, memory in list(self._memory.items()):
            if start <= address and address + size <= memory.ctypes.data + memory.nbytes - _ALIGNMENT:
                return memory
        raise ValueError(f"{size} bytes at {address}, which are not reserved")


class HostStaging:
    """Memory that host and device share, as on a Jetson."""

    def __init__(self, device: HostDevice, size: int) -> None:
        self.address = device.reserve(size)
        block = device._memory[self.address]
        start = self.address - block.ctypes.data
        self.host: NDArray[np.uint8] = block[start : start + size]
        self._device = device

    def __del__(self) -> None:
        self._device.release(self.address, self.host.nbytes)

    def send(self) -> None:
        pass


@cache
def _compiled() -> ctypes.CDLL:
    if shutil.which("g++") is None:
        pytest.skip("no g++, which compiles the CUDA kernels for the CPU")
    named = re.findall(r"__global__ void (\w+)", kernels.source())
    defined = "-DKERNELS=" + " ".join(f"KERNEL({name})" for name in named)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "kernels.cu").write_text(kernels.source(), encoding="utf-8")
        library = Path(folder, "kernels.so")
        # Products and sums are rounded apart, as on the GPU.
        options = ["-std=c++17", "-O1", "-ffp-contract=off", "-shared", "-fPIC", f"-I{folder}", defined]
        wrapped = Path(__file__).with_name("host_kernels.cpp")
        subprocess.run(["g++", *options, *_WARNINGS, "-o", library, wrapped], check=True)
        return ctypes.CDLL(str(library))
