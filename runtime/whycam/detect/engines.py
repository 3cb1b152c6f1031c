"""Where TensorRT's engines are kept: building one takes minutes, and it serves one model on one device alone."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import platform
import re
from collections.abc import Callable
from pathlib import Path

from whycam.power_mode import power_mode

_UNKNOWN = "unknown"
# cuDeviceGetAttribute's numbers.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76


def engine_folder(sha256: str) -> Path:
    """The folder of the engine of the graph whose file has this SHA-256, on this device as it is now.

    Below `$WHYCAM_ENGINES`, or `whycam/engines` in `$XDG_CACHE_HOME` or `~/.cache`; named by what an engine depends on:
    the graph, ONNX Runtime, TensorRT, compute capability, power mode.
    """
    import onnxruntime

    parts = (
        sha256[:16],
        f"ort{onnxruntime.__version__}",
        f"trt{_or_unknown(_tensorrt)}",
        f"sm{_or_unknown(_capability)}",
        f"power{power_mode() or _UNKNOWN}",
        platform.machine(),
    )
    return _root() / "-".join(re.sub(r"[^\w.]", "_", part) for part in parts)


def kernels_folder() -> Path | None:
    """The folder of whycam's own kernels as nvcc compiled them, beside the engines; None where it cannot be written."""
    try:
        folder = _root() / "kernels"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: no home
        return None
    return folder if os.access(folder, os.W_OK) else None


def _root() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return Path(
        os.environ.get("WHYCAM_ENGINES") or (Path(cache) if cache else Path.home() / ".cache") / "whycam" / "engines"
    )


def holds_engine(folder: Path) -> bool:
    """Whether an engine has been built into this folder."""
    return any(folder.glob("*.engine"))


def compute_capability() -> str | None:
    """That of the first GPU as CUDA's driver tells it, such as `87`; None where there is none, or no driver."""
    capability = _or_unknown(_capability)
    return None if capability == _UNKNOWN else capability


def gpu_memory() -> int | None:
    """Bytes of memory of the first GPU, on a Jetson those that it shares with the CPU; None without GPU or driver."""
    memory = _or_unknown(_memory)
    return None if memory == _UNKNOWN else int(memory)


def tensorrt_version() -> str | None:
    """The number of the TensorRT library on this machine; None where there is none."""
    version = _or_unknown(_tensorrt)
    return None if version == _UNKNOWN else version


def _or_unknown(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except (OSError, AttributeError, ValueError):
        return _UNKNOWN


def _tensorrt() -> str:
    library = ctypes.util.find_library("nvinfer")
    return _UNKNOWN if library is None else str(int(ctypes.CDLL(library).getInferLibVersion()))


def _capability() -> str:
    cuda, device = _first_gpu()
    numbers = []
    for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
        value = ctypes.c_int()
        if cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device) != 0:
            return _UNKNOWN
        numbers.append(str(value.value))
    return "".join(numbers)


def _memory() -> str:
    cuda, device = _first_gpu()
    total = ctypes.c_size_t()
    # The plain name is that of an older interface, which counts in 32 bits.
    return str(total.value) if cuda.cuDeviceTotalMem_v2(ctypes.byref(total), device) == 0 else _UNKNOWN


def _first_gpu() -> tuple[ctypes.CDLL, ctypes.c_int]:
    """CUDA's driver, and the number by which it knows the first GPU; raises OSError where either is missing."""
    cuda, device = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGet(ctypes.byref(device), 0) != 0:
        raise OSError("no GPU")
    return cuda, device
