"""The libraries that ONNX Runtime's execution providers for the GPU are made of, and need."""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from whycam.detect.engines import compute_capability
from whycam.detect.providers import CUDA, TENSORRT

_LIBRARIES = {CUDA: "libonnxruntime_providers_cuda.so", TENSORRT: "libonnxruntime_providers_tensorrt.so"}
_FATAL, _WARNING = 4, 2


def library_of(provider: str) -> Path | None:
    """The file of the provider that ONNX Runtime calls so; None where it has none."""
    import onnxruntime

    path = Path(onnxruntime.__file__).parent / "capi" / _LIBRARIES.get(provider, "")
    return path if path.is_file() else None


def load_problem(library: Path) -> str | None:
    """Why a provider's library cannot be loaded: mostly one of CUDA's that is missing. ONNX Runtime only logs that."""
    load_wheels()
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return " ".join(str(error).split())
    return None


def why_not_started(provider: str) -> str:
    """Why ONNX Runtime left out the provider that it calls so, without a word of its own."""
    library = library_of(provider)
    problem = None if library is None else load_problem(library)
    if problem is not None:
        return problem
    return "its device is missing" if compute_capability() is not None else "CUDA's driver knows no GPU here"


@cache
def load_wheels() -> None:
    """Load those of CUDA's libraries that pip has installed, once: no loader looks where they are."""
    import onnxruntime

    # Since 1.21. It prints what it does not find, which is none of the user's business where the system has it.
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what ONNX Runtime prints of a provider that does not start: it is said in a line, by who tries it."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)
