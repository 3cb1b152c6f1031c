"""What ONNX Runtime and OpenCV say of themselves."""

from __future__ import annotations

import ctypes
import re
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from whycam.detect.engines import compute_capability, tensorrt_version
from whycam.libraries import ONNXRUNTIME, OPENCV, needs

_CUDA_LIBRARY = "libonnxruntime_providers_cuda.so"


def numpy_here() -> dict[str, Any]:
    """Whether NumPy loads, and computes."""
    import numpy as np

    (np.ones((64, 64), np.float32) @ np.ones((64, 64), np.float32)).sum()
    return {"version": np.__version__}


def onnxruntime_here() -> dict[str, Any]:
    """Version, providers, and whether those for the GPU find their libraries."""
    with needs(ONNXRUNTIME):
        import onnxruntime
    folder = Path(onnxruntime.__file__).parent
    library = folder / "capi" / _CUDA_LIBRARY
    return {
        "version": onnxruntime.__version__,
        "folder": str(folder),
        "providers": list(onnxruntime.get_available_providers()),
        "wheels": _wheels("onnxruntime"),
        "cuda_library": str(library) if library.exists() else None,
        "cuda_problem": _load_problem(library) if library.exists() else None,
        "sm": compute_capability(),
        "tensorrt": tensorrt_version(),
    }


def opencv_here() -> dict[str, Any]:
    """Version, and which of the libraries that cameras need it was built with."""
    with needs(OPENCV):
        import cv2
    built = cv2.getBuildInformation()
    return {
        "version": cv2.__version__,
        "folder": str(Path(cv2.__file__).parent),
        "wheels": _wheels("opencv"),
        "gstreamer": re.search(r"GStreamer:\s+YES", built) is not None,
        "ffmpeg": re.search(r"FFMPEG:\s+YES", built) is not None,
    }


def _wheels(begins: str) -> list[str]:
    """The installed distributions whose name begins so: several of them lie over one another in one folder."""
    names = {distribution.metadata["Name"] or "" for distribution in distributions()}
    return sorted(name for name in names if re.match(rf"{begins}($|[-_])", name, re.IGNORECASE))


def _load_problem(library: Path) -> str | None:
    """Why it cannot be loaded: mostly a CUDA library that is missing, which ONNX Runtime itself only logs."""
    try:
        import onnxruntime

        if hasattr(onnxruntime, "preload_dlls"):
            # Finds those that pip has installed beside it.
            onnxruntime.preload_dlls()
        ctypes.CDLL(str(library))
    except Exception as error:
        return " ".join(str(error).split())
    return None
