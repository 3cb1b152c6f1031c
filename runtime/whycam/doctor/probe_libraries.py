"""What ONNX Runtime, CUDA's compiler and OpenCV say of themselves."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from whycam.detect.engines import compute_capability, tensorrt_version
from whycam.detect.provider_libraries import library_of, load_problem
from whycam.detect.providers import CUDA
from whycam.errors import InputError, MissingDependencyError
from whycam.libraries import ONNXRUNTIME, OPENCV, needs


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
    library = library_of(CUDA)
    return {
        "version": onnxruntime.__version__,
        "folder": str(folder),
        "providers": list(onnxruntime.get_available_providers()),
        "wheels": _wheels("onnxruntime"),
        "cuda_library": None if library is None else str(library),
        "cuda_problem": None if library is None else load_problem(library),
        "sm": compute_capability(),
        "tensorrt": tensorrt_version(),
    }


def kernels_here() -> dict[str, Any]:
    """Whether whycam's kernels are compiled and loaded; if not, why, and what mends it, where that is known."""
    from whycam.cuda.cuda_device import gpu

    problem = fix = None
    try:
        gpu()
    except MissingDependencyError as error:
        problem, _, fix = str(error).removesuffix("`").partition(": run `")
    except InputError as error:
        problem = str(error)
    return {"problem": problem, "fix": fix}


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
