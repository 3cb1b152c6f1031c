"""What the checks on a GPU need beside the tests' own packages: `python -m tests.runtime.cuda.ready`."""

from __future__ import annotations

import platform
import sys

from whycam.cuda.cuda_device import gpu
from whycam.detect.engines import compute_capability
from whycam.detect.providers import CUDA
from whycam.errors import WhycamError
from whycam.libraries import ONNXRUNTIME, install_line

_PIP = ".uv/bin/uv pip {} --python .venv/bin/python {}"


def missing() -> str | None:
    """In one line, what is missing and what installs it; None where nothing is."""
    if compute_capability() is None:
        driver = "nvidia-jetpack" if platform.machine() == "aarch64" else "nvidia-driver"
        return f"no GPU of NVIDIA's, or no driver for it: see `nvidia-smi`, run `sudo apt-get install -y {driver}`"
    import onnxruntime

    if CUDA not in onnxruntime.get_available_providers():
        # Two builds of it would lie over one another.
        words = install_line(ONNXRUNTIME).split()
        wheel = " ".join(words[2:]) if "--index-url" in words else '"onnxruntime-gpu[cuda,cudnn]"'
        install = f"{_PIP.format('uninstall', 'onnxruntime')} && {_PIP.format('install', wheel)}"
        return f"ONNX Runtime {onnxruntime.__version__} has no CUDA here: run `{install}`"
    try:
        gpu()
    except WhycamError as error:
        return str(error).replace('pip install "whycam[cuda]"', _PIP.format("install", '-e "runtime[cuda]"'))
    return None


if __name__ == "__main__":
    if (lacking := missing()) is not None:
        print(lacking, file=sys.stderr)
        sys.exit(2)
