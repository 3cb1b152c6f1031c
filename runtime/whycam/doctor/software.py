"""Python and the libraries that run models and read cameras."""

from __future__ import annotations

import importlib.util
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whycam.doctor.asking import NoAnswerError
from whycam.doctor.cuda_code import cuda_code
from whycam.doctor.gpu import Gpu, gpu_of
from whycam.doctor.installation import Installation
from whycam.doctor.jetson import jetson_linux
from whycam.doctor.report import Finding, failure, listed, ok, skipped, warning
from whycam.libraries import ONNXRUNTIME, OPENCV, install_line

_KIT = "/opt/whycam/"
"""Where the device kit installs."""
_THROUGH_CPU = "frames and features go through the CPU's memory"
_CUDA, _TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"


def python(installation: Installation) -> Iterator[Finding]:
    """The interpreter, and whether it is the service's."""
    told = f"{platform.python_version()} in {sys.prefix}"
    facts = {"version": platform.python_version(), "prefix": sys.prefix, "package": str(Path(__file__).parents[1])}
    command = ([] if installation.unit is None else installation.unit.words("ExecStart"))[:1]
    service = installation.machine.path(command[0]) if command else None
    if service is not None and service.exists() and service.parent.resolve() != (Path(sys.prefix) / "bin").resolve():
        config = f" -c {installation.path}" if installation.path else ""
        why = f"{told}: not the service's, which is {service}"
        yield warning("software.python", why, f"sudo {service} doctor{config}", **facts)
    else:
        yield ok("software.python", told, **facts)


def numpy(installation: Installation) -> Iterator[Finding]:
    """NumPy, without which not even a configuration can be read."""
    try:
        found = installation.library("numpy")
    except NoAnswerError as error:
        why = f"{_does_not_load('NumPy', error)}: nothing else can be looked at"
        fix = _pip("install", "--force-reinstall", "numpy")
        if "SIGILL" in str(error):
            # OpenBLAS takes some boards for a newer processor.
            fix = "sudo systemctl edit whycam    # [Service]\nEnvironment=OPENBLAS_CORETYPE=ARMV8"
        yield failure("software.numpy", why, fix)
        return
    yield ok("software.numpy", found["version"], version=found["version"])


def onnxruntime(installation: Installation) -> Iterator[Finding]:
    """ONNX Runtime: whether it loads, and what it can run models on."""
    try:
        found = installation.library("onnxruntime")
    except NoAnswerError as error:
        if not installation.loads("numpy"):
            yield skipped("software.onnxruntime", "needs NumPy")
            return
        fix = _install(installation).replace(" install ", " install --force-reinstall ", 1)
        yield failure("software.onnxruntime", _does_not_load("ONNX Runtime", error), fix)
        return
    told = f"{found['version']} with {listed([_short(name) for name in found['providers']])}"
    facts = {key: found[key] for key in ("version", "folder", "providers", "wheels")}
    absent = [name for name in _asked(installation) if name not in found["providers"]]
    if len(found["wheels"]) > 1:
        why = f"{told}: {listed(found['wheels'])} lie over one another"
        fix = _replace_runtime(installation, found["wheels"], gpu_of(installation))
        yield warning("software.onnxruntime", why, fix, **facts)
    elif absent:
        why = f"{told}, but the configuration asks for {listed([_short(name) for name in absent])}"
        gpu = gpu_of(installation)
        fix = 'providers = ["cpu"]    # in [[camera]]: there is no GPU for them here'
        if gpu is not None:
            fix = _replace_runtime(installation, found["wheels"], gpu)
        yield failure("software.onnxruntime", why, fix, **facts)
    else:
        yield ok("software.onnxruntime", told, **facts)


def cuda(installation: Installation) -> Iterator[Finding]:
    """Whether ONNX Runtime's GPU code is for this GPU, and finds CUDA's libraries."""
    gpu = gpu_of(installation)
    try:
        found = installation.library("onnxruntime")
    except NoAnswerError:
        return
    if gpu is None:
        if _CUDA in found["providers"] and _CUDA in _asked(installation):
            why = "the configuration asks for CUDA, and there is no GPU of NVIDIA's here"
            yield failure("software.cuda", why, 'providers = ["cpu"]    # in the [[camera]] tables')
        return
    if found["cuda_library"] is None:
        why = f"this ONNX Runtime has none: the {gpu.name} GPU stays unused, models run on the CPU"
        yield warning("software.cuda", why, _replace_runtime(installation, found["wheels"], gpu))
        return
    yield judge_cuda(installation, gpu, found)


def judge_cuda(installation: Installation, gpu: Gpu, found: dict[str, Any]) -> Finding:
    """Whether the library that the probe has `found` runs on `gpu`."""
    sm = gpu.sm or int(found["sm"] or 0)
    code = cuda_code(Path(found["cuda_library"]))
    facts: dict[str, Any] = {"sm": sm or None, "cubins": sorted(code.cubins), "ptx": sorted(code.ptx), "covered": None}
    replace = _replace_runtime(installation, found["wheels"], gpu)
    if not code.cubins and not code.ptx:
        # Some builds hold it in other libraries beside this one.
        return warning("software.cuda", f"none is in {found['cuda_library']}: cannot be told", **facts)
    if sm and not code.runs_on(sm, tegra=gpu.tegra):
        why = f"holds {code}: none for this GPU, sm_{sm}; a model on it fails at its first frame"
        return failure("software.cuda", why, replace, **{**facts, "covered": False})
    if found["cuda_problem"]:
        why = f"is for this GPU, but does not load: {found['cuda_problem']}"
        fix = (
            "sudo apt-get install -y nvidia-jetpack" if gpu.tegra else _pip("install", '"onnxruntime-gpu[cuda,cudnn]"')
        )
        return failure("software.cuda", why, fix, **{**facts, "covered": True})
    if not sm:
        return warning("software.cuda", f"holds {code}; this GPU's architecture is not known", "nvidia-smi", **facts)
    return ok("software.cuda", f"holds {code}, and so runs on sm_{sm}", **{**facts, "covered": True})


def tensorrt(installation: Installation) -> Iterator[Finding]:
    """TensorRT, where there is a GPU."""
    if gpu_of(installation) is None:
        return
    try:
        found = installation.library("onnxruntime")
    except NoAnswerError:
        return
    version, provider = found["tensorrt"], _TENSORRT in found["providers"]
    told = f"version {_dotted(version)}" if version else "not installed"
    if provider and version is None:
        why = "ONNX Runtime was built with it, but libnvinfer is not installed"
        yield warning("software.tensorrt", why, "sudo apt-get install -y tensorrt", version=None, provider=True)
    elif provider:
        yield ok("software.tensorrt", f"{told}, and ONNX Runtime has it", version=version, provider=True)
    else:
        # A camera that asks for it has failed at ONNX Runtime.
        yield ok("software.tensorrt", f"{told}; this ONNX Runtime does without", version=version, provider=False)


def kernels(installation: Installation) -> Iterator[Finding]:
    """Whether frames and features can stay in the GPU's memory, where ONNX Runtime can use a GPU."""
    try:
        if gpu_of(installation) is None or _CUDA not in installation.library("onnxruntime")["providers"]:
            return
        found = installation.library("kernels")
    except NoAnswerError as error:
        if installation.loads("onnxruntime"):
            why = f"the process that compiles them {error}: {_THROUGH_CPU}"
            yield warning("software.kernels", why, 'python3 -c "import whycam.cuda.cuda_device as c; c.gpu()"')
        return
    if found["problem"] is None:
        yield ok("software.kernels", "compiled by nvcc and loaded: frames and features stay in the GPU's memory")
        return
    fix = found["fix"]
    if fix is not None and fix.startswith("pip "):
        fix = _pip(*fix.split()[1:])
    yield warning("software.kernels", f"{found['problem']}: {_THROUGH_CPU}", fix or "nvidia-smi")


def opencv(installation: Installation) -> Iterator[Finding]:
    """OpenCV: whether it loads, and reads the cameras that are configured."""
    machine = installation.machine
    jetson = jetson_linux(machine) is not None
    try:
        found = installation.library("opencv")
    except NoAnswerError as error:
        if not installation.loads("numpy"):
            yield skipped("software.opencv", "needs NumPy")
            return
        fix = install_line(OPENCV, _release(installation))
        if not jetson:
            fix = _pip("install", "--force-reinstall", "opencv-python-headless")
        if "numpy" in str(error).lower():
            fix = _pip("install", '"numpy<2"')
        yield failure("software.opencv", _does_not_load("OpenCV", error), fix)
        return
    with_, without = ("with", "without")
    parts = f"{with_ if found['gstreamer'] else without} GStreamer, {with_ if found['ffmpeg'] else without} FFmpeg"
    told = f"{found['version']} {parts}"
    system = f"sudo apt-get install -y nvidia-opencv && python3 -m venv --system-site-packages --upgrade {sys.prefix}"
    own = _replace(found["wheels"], system)
    sources = [camera.source for camera in installation.config.cameras] if installation.config else []
    if any(source.startswith("csi:") for source in sources) and not found["gstreamer"]:
        yield failure("software.opencv", f"{told}: CSI cameras need GStreamer", own, **found)
    elif not found["ffmpeg"]:
        fix = "sudo apt-get install -y libopencv-videoio-dev" if jetson else _pip("install", "opencv-python-headless")
        yield failure("software.opencv", f"{told}: network cameras and videos need FFmpeg", fix, **found)
    elif len(found["wheels"]) > 1:
        keep = "opencv-python-headless"
        fix = _replace(found["wheels"], _pip("install", keep))
        yield warning("software.opencv", f"{told}: {listed(found['wheels'])} lie over one another", fix, **found)
    else:
        note = "; CSI cameras and NVIDIA's decoder would need it" if jetson and not found["gstreamer"] else ""
        yield ok("software.opencv", told + note, **found)


def _asked(installation: Installation) -> list[str]:
    """ONNX Runtime's names of the providers that the configuration names."""
    names = {"cuda": _CUDA, "tensorrt": _TENSORRT, "cpu": "CPUExecutionProvider"}
    cameras = installation.config.cameras if installation.config else ()
    return list(dict.fromkeys(names.get(one.lower(), one) for camera in cameras for one in camera.providers or ()))


def _install(installation: Installation, gpu: Gpu | None = None) -> str:
    """What installs ONNX Runtime for this machine."""
    jetson = jetson_linux(installation.machine)
    if jetson is not None and (jetson.generation or 0) >= 6:
        line = install_line(ONNXRUNTIME, _release(installation))
        return _pip(*line.split()[1:])
    return _pip("install", "onnxruntime-gpu" if gpu is not None else "onnxruntime")


def _release(installation: Installation) -> str | None:
    """Jetson Linux's, such as R36."""
    jetson = jetson_linux(installation.machine)
    return None if jetson is None else f"R{jetson.release.partition('.')[0]}"


def _replace_runtime(installation: Installation, wheels: list[str], gpu: Gpu | None) -> str:
    """What puts another ONNX Runtime in the place of this one."""
    if not sys.prefix.startswith(_KIT):
        return _replace(wheels, _install(installation, gpu))
    # A kit's release is whole: what is changed in it is gone with the next one.
    jetson = jetson_linux(installation.machine)
    machine = {"aarch64": "arm64", "x86_64": "amd64"}.get(installation.machine.architecture, "amd64")
    platform = f"jetpack{jetson.generation}" if jetson is not None else f"debian-{machine}"
    wheel = "onnxruntime_gpu-VERSION.whl" if gpu is not None else "onnxruntime-VERSION.whl"
    return f"make kit PLATFORM={platform} ONNXRUNTIME={wheel}    # on a workstation; then its install.sh here"


def _replace(wheels: list[str], install: str) -> str:
    return f"{_pip('uninstall', '-y', *wheels)} && {install}" if wheels else install


def _pip(*words: str) -> str:
    """A command of pip's for this environment, which need not have pip itself."""
    if importlib.util.find_spec("pip") is not None:
        return " ".join((sys.executable, "-m pip", *words))
    return " ".join(("python3 -m pip --python", sys.prefix, *words))


def _short(provider: str) -> str:
    name = provider.removesuffix("ExecutionProvider")
    return {"Tensorrt": "TensorRT"}.get(name, name)


def _dotted(number: str) -> str:
    """10.3.0 of 100300, and 8.6.1 of 8601."""
    value = int(number)
    base = 10000 if value >= 10000 else 1000
    return f"{value // base}.{value % base // 100}.{value % 100}"


def _does_not_load(name: str, error: NoAnswerError) -> str:
    told = str(error).removeprefix("MissingDependencyError: ").partition(": run `")[0]
    return told if told.startswith(name) else f"{name} {told}"
