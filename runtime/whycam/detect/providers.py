"""The execution providers: what ONNX Runtime calls each, what steps in for it, and how it is set for a graph.

The options are those of ONNX Runtime's pages on the CUDA and the TensorRT execution provider.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whycam.detect.engines import engine_folder
from whycam.detect.graphs import Role, Shape
from whycam.errors import InputError
from whycam.libraries import ONNXRUNTIME, needs

TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"
"""ONNX Runtime's names."""

Options = dict[str, Any]
ENGINES = "trt_engine_cache_path"
"""TensorRT's option that names the folder of a graph's engine; without it none is kept."""

log = logging.getLogger(__name__)

_GIB = 1 << 30


@dataclass(frozen=True)
class GraphUse:
    """What a graph is for: all that the options of a provider depend on."""

    file: str
    sha256: str
    role: Role
    inputs: Mapping[str, Shape]
    most: int
    """The largest batch that is run; 1: it is always one."""
    memory: int | None
    """Bytes of the GPU's memory; None where that is not known, which leaves ONNX Runtime's own limits."""
    stream: int | None = None
    """The address of the CUDA stream to compute on; None: one of ONNX Runtime's own."""
    fixed_addresses: bool = False
    """Whether each run, all of them from one thread, has its inputs and outputs at the same places in the GPU's memory
    (ONNX Runtime's I/O binding)."""

    @property
    def half(self) -> bool:
        """Whether the file is a graph of half precision."""
        return ".fp16." in self.file

    @property
    def int8(self) -> bool:
        """Whether the file has whole numbers between nodes that quantize and dequantize."""
        return ".int8" in self.file

    @property
    def captured(self) -> bool:
        """Whether a run may be recorded once and replayed as a CUDA graph, which always reads and writes the same."""
        return self.fixed_addresses and self.most == 1


@dataclass(frozen=True)
class Provider:
    """An execution provider."""

    name: str
    """As the configuration and `--provider` name it."""
    runtime_name: str
    title: str
    below: str | None
    """ONNX Runtime's name of the one that steps in where this one does not start, or does not take a graph."""
    options: Callable[[GraphUse], Options]


def _tensorrt(use: GraphUse) -> Options:
    options: Options = {
        # A graph of half precision is not built without the first, nor one of whole numbers without the second. The
        # rest stays as exact as the graph is: other precisions were not judged by calibration.
        "trt_fp16_enable": use.half,
        "trt_int8_enable": use.int8,
        # The engines of one graph run after one another, and can have the same scratch memory.
        "trt_context_memory_sharing_enable": True,
        **_kept(use.sha256),
    }
    if use.memory is not None:
        # What a layer may have to compute in: VGG's need less, and a Jetson's GPU and CPU share what there is.
        options["trt_max_workspace_size"] = use.memory // 8
    if use.most > 1:
        # One engine for all sizes of batch: else each larger one is built anew, for minutes, when it is first run. A
        # graph of one size needs none of this, its shapes are made static when it is opened.
        usual = 1 if use.role == "head" else use.most
        for key, batch in (("min", 1), ("opt", usual), ("max", use.most)):
            options[f"trt_profile_{key}_shapes"] = _shapes(use.inputs, batch)
    return options | _on_stream(use)


def _cuda(use: GraphUse) -> Options:
    options: Options = {
        # Doubling would take up to twice of what is needed, of memory that the CPU shares.
        "arena_extend_strategy": "kSameAsRequested",
        # Ten bits after the point are not float32: scores would not be those of the CPU.
        "use_tf32": 0,
        # A search times each way to convolve, anew for each size of batch, while a frame waits: not worth it but for
        # the one size that is run for every frame.
        "cudnn_conv_algo_search": "EXHAUSTIVE" if use.role == "features" and use.most == 1 else "HEURISTIC",
        "enable_cuda_graph": int(use.captured),
    }
    if use.memory is not None:
        # Ceilings, not reservations: beyond them this graph fails with an error, where the kernel would else end
        # whatever takes most. The CNN and its gradients hold whole layers, the RNN hardly more than its weights.
        options["gpu_mem_limit"] = use.memory // (4 if use.role in ("step", "head") else 2)
        # Without it a convolution gets 32 MiB to compute in, which rules out some ways. A Jetson of 8 GB has 7.4 GiB.
        options["cudnn_conv_use_max_workspace"] = int(use.role == "features" and use.memory >= 7 * _GIB)
    return options | _on_stream(use)


def _cpu(_: GraphUse) -> Options:
    return {}


_TABLE = (
    Provider("cpu", CPU, "CPU", None, _cpu),
    Provider("cuda", CUDA, "CUDA", CPU, _cuda),
    Provider("tensorrt", TENSORRT, "TensorRT", CUDA, _tensorrt),
)
PROVIDERS: Mapping[str, Provider] = {provider.runtime_name: provider for provider in _TABLE}
"""By ONNX Runtime's name."""
_SHORT = {provider.name: provider.runtime_name for provider in _TABLE}


def choose_providers(wanted: Sequence[str] | None) -> list[str]:
    """ONNX Runtime's names of the execution providers to use, in order of preference.

    `wanted` holds `cpu`, `cuda`, `tensorrt` or ONNX Runtime's own names; None takes CUDA where it is there, then the
    CPU. Behind TensorRT comes CUDA where it is there, and the CPU last in any case, for operators that the others lack.

    Raises InputError, naming those there are, where this ONNX Runtime lacks one, and MissingDependencyError without
    ONNX Runtime.
    """
    with needs(ONNXRUNTIME):
        import onnxruntime
    available = onnxruntime.get_available_providers()
    if wanted is None:
        return [name for name in (CUDA, CPU) if name in available]
    chosen = []
    for name in [wanted] if isinstance(wanted, str) else wanted:
        full = runtime_name(name)
        if full not in available:
            there = ", ".join([short for short, known in _SHORT.items() if known in available] or available)
            raise InputError(f"execution provider '{name}': the ONNX Runtime installed here has {there}")
        chosen.append(full)
        below = PROVIDERS[full].below if full in PROVIDERS else None
        if below is not None and below != CPU and below in available:
            chosen.append(below)
    # The CPU can do all: whatever is named behind it would never be asked.
    named = list(dict.fromkeys(chosen))
    return [*(named[: named.index(CPU)] if CPU in named else named), CPU]


def leaves_to_cpu(wanted: Sequence[str] | None) -> bool:
    """Whether the CPU may run what the others do not: where none is named, or the CPU is."""
    return not wanted or CPU in [runtime_name(name) for name in ([wanted] if isinstance(wanted, str) else wanted)]


def providers_here() -> tuple[str, ...]:
    """Those of `cpu`, `cuda` and `tensorrt` that this ONNX Runtime was built with.

    Raises MissingDependencyError without ONNX Runtime.
    """
    with needs(ONNXRUNTIME):
        import onnxruntime
    available = onnxruntime.get_available_providers()
    return tuple(short for short, name in _SHORT.items() if name in available)


def with_options(providers: Sequence[str], use: GraphUse) -> list[tuple[str, Options]]:
    """Each of `providers` (ONNX Runtime's names) with its options, as ONNX Runtime's InferenceSession takes them."""
    return [(name, PROVIDERS[name].options(use) if name in PROVIDERS else {}) for name in providers]


def runtime_name(name: str) -> str:
    """ONNX Runtime's name of the provider that is called `name`: by its short name, or by that already."""
    return _SHORT.get(name.lower(), name)


def title(provider: str) -> str:
    """How people call the provider that ONNX Runtime calls `provider`: TensorRT, CUDA, CPU."""
    return PROVIDERS[provider].title if provider in PROVIDERS else provider.removesuffix("ExecutionProvider")


def _kept(sha256: str) -> Options:
    """Where TensorRT keeps the engine of a graph, and how long each way to compute a layer took, for the next build."""
    try:
        folder = engine_folder(sha256)
        # ONNX Runtime makes the last folder of the path alone, and does not start where the others are missing.
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home
        log.warning("TensorRT's engines cannot be kept (%s): name a folder in $WHYCAM_ENGINES", error)
        return {}
    return {
        "trt_engine_cache_enable": True,
        ENGINES: str(folder),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(folder),
    }


def _shapes(inputs: Mapping[str, Shape], batch: int) -> str:
    """The inputs with a free size, as TensorRT's options have them: `maps:20x512x7x7,feature_gradient:20x512`."""
    sizes = {name: "x".join(str(size or batch) for size in shape) for name, shape in inputs.items() if None in shape}
    return ",".join(f"{name}:{size}" for name, size in sizes.items())


def _on_stream(use: GraphUse) -> Options:
    # An address goes as text: ONNX Runtime reads the number from it.
    return {} if use.stream is None else {"user_compute_stream": str(use.stream)}
