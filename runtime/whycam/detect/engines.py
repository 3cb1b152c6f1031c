"""Where TensorRT's engines are kept: building one takes minutes, and it serves one model on one device alone."""

from __future__ import annotations

import ctypes
import ctypes.util
import logging
import os
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from whycam.power_mode import power_mode

TENSORRT = "TensorrtExecutionProvider"

log = logging.getLogger(__name__)

_UNKNOWN = "unknown"
# cuDeviceGetAttribute's numbers.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76


def engine_folder(sha256: str) -> Path:
    """The folder of the engine of the graph whose file has this SHA-256, on this device as it is now.

    Below `$WHYCAM_ENGINES`, or `whycam/engines` in `$XDG_CACHE_HOME` or `~/.cache`; named by what an engine depends on:
    the graph, ONNX Runtime, TensorRT, compute capability, power mode.
    """
    import onnxruntime

    cache = os.environ.get("XDG_CACHE_HOME")
    root = os.environ.get("WHYCAM_ENGINES") or (Path(cache) if cache else Path.home() / ".cache") / "whycam" / "engines"
    parts = (
        sha256[:16],
        f"ort{onnxruntime.__version__}",
        f"trt{_or_unknown(_tensorrt)}",
        f"sm{_or_unknown(_capability)}",
        f"power{power_mode() or _UNKNOWN}",
        platform.machine(),
    )
    return Path(root) / "-".join(re.sub(r"[^\w.]", "_", part) for part in parts)


def with_engines(providers: list[str], file: str, sha256: str) -> list[str | tuple[str, dict[str, Any]]]:
    """`providers`, TensorRT with the options under which it keeps the engine of the graph in `file`.

    Engines are built as exact as the graph is: in whole numbers or half precision only where the file is of that
    precision. Where no folder can be made, they are built anew at each start.
    """
    if TENSORRT not in providers:
        return list(providers)
    options: dict[str, Any] = {"trt_int8_enable": ".int8" in file, "trt_fp16_enable": ".fp16" in file}
    try:
        folder = engine_folder(sha256)
        # ONNX Runtime makes the last folder of the path alone, and does not start where the others are missing.
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home
        log.warning("TensorRT's engines cannot be kept (%s): name a folder in $WHYCAM_ENGINES", error)
    else:
        for kind in ("engine", "timing"):
            options |= {f"trt_{kind}_cache_enable": True, f"trt_{kind}_cache_path": str(folder)}
    return [(name, options) if name == TENSORRT else name for name in providers]


def compute_capability() -> str | None:
    """That of the first GPU as CUDA's driver tells it, such as `87`; None where there is none, or no driver."""
    capability = _or_unknown(_capability)
    return None if capability == _UNKNOWN else capability


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
    cuda = ctypes.CDLL("libcuda.so.1")
    device, numbers = ctypes.c_int(), []
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGet(ctypes.byref(device), 0) != 0:
        return _UNKNOWN
    for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
        value = ctypes.c_int()
        if cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device) != 0:
            return _UNKNOWN
        numbers.append(str(value.value))
    return "".join(numbers)
