"""The libraries that plain `whycam` does not bring: imported where they are used, answered with how to install them."""

from __future__ import annotations

import platform
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from whycam.errors import MissingDependencyError

WHEELS = 'pip install "whycam[cpu]"'
_CUDA_WHEELS = 'pip install "whycam[cuda]"'
_JETSON_RELEASE = Path("/etc/nv_tegra_release")
# The vendor's index for the release of Jetson Linux that JetPack 6 holds, and for the later ones.
_JETSON_INDEX = {"R36": "https://pypi.jetson-ai-lab.io/jp6/cu126"}
_LATER_JETSON_INDEX = "https://pypi.jetson-ai-lab.io/sbsa/cu130"


@dataclass(frozen=True)
class Library:
    """An optional library, and the module that it provides."""

    name: str
    module: str


OPENCV = Library("OpenCV", "cv2")
ONNXRUNTIME = Library("ONNX Runtime", "onnxruntime")
MATPLOTLIB = Library("Matplotlib", "matplotlib")
PYCUDA = Library("PyCUDA", "pycuda")


@contextmanager
def needs(library: Library) -> Iterator[None]:
    """Around the import of an optional library.

    Raises MissingDependencyError, with the install line for this machine, where the import fails.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != library.module:
            raise MissingDependencyError(library.name, install_line(library), _one_line(error)) from error
        raise MissingDependencyError(library.name, install_line(library)) from None
    except ImportError as error:
        raise MissingDependencyError(library.name, install_line(library), _one_line(error)) from error


def install_line(library: Library, release: str | None = None) -> str:
    """What installs `library` here: whycam's extra; on a Jetson the vendor's build, which alone knows its GPU.

    `release` is Jetson Linux's, such as `R36`; by default that of this machine.
    """
    if library is PYCUDA:
        # It is compiled here, against this machine's CUDA; only OpenCV and ONNX Runtime are others on a Jetson.
        return _CUDA_WHEELS
    release = jetson_release() if release is None else release
    if release is None:
        return WHEELS
    if library is OPENCV:
        system_packages = f"python3 -m venv --system-site-packages --upgrade {shlex.quote(sys.prefix)}"
        return f"sudo apt-get install -y nvidia-opencv && {system_packages}"
    if library is ONNXRUNTIME:
        return f"pip install onnxruntime-gpu --index-url {_JETSON_INDEX.get(release, _LATER_JETSON_INDEX)}"
    return f"pip install {library.module}"


def jetson_release() -> str | None:
    """The release of Jetson Linux, such as `R36`, where this machine is an NVIDIA Jetson."""
    if platform.machine() != "aarch64" or not _JETSON_RELEASE.exists():
        return None
    release = re.search(r"R\d+", _JETSON_RELEASE.read_text(errors="replace"))
    return release[0] if release else ""


def _one_line(error: ImportError) -> str:
    return " ".join(str(error).split())
