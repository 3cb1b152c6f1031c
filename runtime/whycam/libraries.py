"""The libraries that plain `whycam` does not bring: imported where they are used, answered with how to install them."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from whycam.errors import MissingDependencyError

WHEELS = 'pip install "whycam[cpu]"'
_JETSON_RELEASE = Path("/etc/nv_tegra_release")


@dataclass(frozen=True)
class Library:
    """An optional library: the module it provides, and the lines that install it."""

    name: str
    module: str
    on_jetson: str


OPENCV = Library(
    "OpenCV",
    "cv2",
    "sudo apt-get install -y nvidia-opencv && python3 -m venv --system-site-packages --upgrade " + sys.prefix,
)
ONNXRUNTIME = Library(
    "ONNX Runtime",
    "onnxruntime",
    "pip install onnxruntime-gpu --index-url https://pypi.jetson-ai-lab.io/jp6/cu126",
)
MATPLOTLIB = Library("Matplotlib", "matplotlib", "pip install matplotlib")


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


def install_line(library: Library) -> str:
    """What installs `library` here: whycam's extra, or on a Jetson the vendor's own build."""
    return library.on_jetson if is_jetson() else WHEELS


def is_jetson() -> bool:
    """Whether this machine is an NVIDIA Jetson."""
    return platform.machine() == "aarch64" and _JETSON_RELEASE.exists()


def _one_line(error: ImportError) -> str:
    return " ".join(str(error).split())
