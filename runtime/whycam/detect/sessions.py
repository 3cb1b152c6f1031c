"""ONNX Runtime sessions: which precision, on which execution providers, and whether a graph is what it should be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whycam.bundle import Bundle, Manifest
from whycam.detect.engines import TENSORRT, with_engines
from whycam.detect.graphs import F32, GraphSpec, Shape
from whycam.detect.memory import release_memory
from whycam.errors import BundleError, InputError
from whycam.libraries import ONNXRUNTIME, needs

if TYPE_CHECKING:
    import onnxruntime

CPU_FORM = "-cpu"
"""Behind a precision's name: its form for the CPU, where another is better elsewhere."""

_CPU = "CPUExecutionProvider"
_DEFAULT = ("CUDAExecutionProvider", _CPU)
_SHORT = {"cpu": _CPU, "cuda": "CUDAExecutionProvider", "tensorrt": TENSORRT}
_ERRORS_ONLY = 3


class Graph:
    """A graph of a bundle, ready to run."""

    def __init__(self, session: onnxruntime.InferenceSession, spec: GraphSpec) -> None:
        self._session = session
        self._file = spec.file
        self._outputs = list(spec.outputs)

    @property
    def providers(self) -> tuple[str, ...]:
        """ONNX Runtime's names of the execution providers in use, in order."""
        return tuple(self._session.get_providers())

    @property
    def threads(self) -> int | None:
        """Threads that a run takes on the CPU; None where ONNX Runtime chooses."""
        return int(self._session.get_session_options().intra_op_num_threads) or None

    def __call__(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """The graph's outputs by name, for `inputs` by name; raises BundleError where it cannot be run."""
        try:
            made = self._session.run(self._outputs, inputs)
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            raise BundleError(f"{self._file}: ONNX Runtime cannot run it here ({_brief(error)})") from error
        return dict(zip(self._outputs, made, strict=True))


def form_of(manifest: Manifest, precision: str, providers: Sequence[str] = ()) -> str:
    """The bundle's precision that is meant; raises InputError, naming those there are, where it has none.

    Where `providers` (ONNX Runtime's names) are the CPU's alone, it is the form for the CPU, if there is one.
    """
    wanted = f"{precision}{CPU_FORM}" if list(providers) == [_CPU] else precision
    if wanted in manifest.precisions:
        return wanted
    if precision in manifest.precisions:
        return precision
    there = ", ".join(name for name in manifest.precisions if not name.endswith(CPU_FORM))
    raise InputError(f"precision '{precision}': bundle '{manifest.name}' has {there}")


def feature_file(manifest: Manifest, precision: str, providers: Sequence[str] = ()) -> str:
    """The file of the feature extractor that `form_of` means."""
    return manifest.precisions[form_of(manifest, precision, providers)]


def step_file(manifest: Manifest, precision: str, providers: Sequence[str] = ()) -> str:
    """The file of the step graph beside it."""
    return manifest.steps.get(form_of(manifest, precision, providers), "step.onnx")


def choose_providers(wanted: Sequence[str] | None) -> list[str]:
    """ONNX Runtime's names of the execution providers to use, in order of preference.

    `wanted` holds `cpu`, `cuda`, `tensorrt` or ONNX Runtime's own names; None takes CUDA where it is there, then the
    CPU. The CPU comes last in any case, for operators that the others lack.

    Raises InputError, naming those there are, where this ONNX Runtime lacks one, and MissingDependencyError without
    ONNX Runtime.
    """
    with needs(ONNXRUNTIME):
        import onnxruntime
    available = onnxruntime.get_available_providers()
    if wanted is None:
        return [name for name in _DEFAULT if name in available]
    if isinstance(wanted, str):
        wanted = [wanted]
    chosen = []
    for name in wanted:
        full = _SHORT.get(name.lower(), name)
        if full not in available:
            there = ", ".join([short for short, known in _SHORT.items() if known in available] or available)
            raise InputError(f"execution provider '{name}': the ONNX Runtime installed here has {there}")
        chosen.append(full)
    return list(dict.fromkeys([*chosen, _CPU]))


def providers_here() -> tuple[str, ...]:
    """Those of `cpu`, `cuda` and `tensorrt` that this ONNX Runtime was built with.

    Raises MissingDependencyError without ONNX Runtime.
    """
    with needs(ONNXRUNTIME):
        import onnxruntime
    available = onnxruntime.get_available_providers()
    return tuple(short for short, name in _SHORT.items() if name in available)


def open_graph(
    bundle: Bundle,
    spec: GraphSpec,
    providers: Sequence[str],
    *,
    threads: int | None = None,
    insist: bool = False,
    rare: bool = False,
) -> Graph:
    """The graph of `bundle` that `spec` describes, on `providers` (ONNX Runtime's names).

    On the CPU it runs in `threads` threads; None is one for each core.

    With `rare` it is one that does not run for every frame: it opens sooner and holds its weights once, without the
    copies that make products a little faster, and gives back what a run has needed.

    Raises BundleError where its file is missing, changed, not loadable or disagrees with `spec`; with `insist`,
    InputError where the first of the providers does not start here.
    """
    import onnxruntime

    path = bundle.file(spec.file)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # Each session has its threads, which go on spinning when a run has ended: beside the next session's they take it
    # half of the cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    if rare:
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.enable_cpu_mem_arena = False
    try:
        session = onnxruntime.InferenceSession(
            path,
            sess_options=options,
            providers=with_engines(list(providers), spec.file, bundle.manifest.files[spec.file].sha256),
        )
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        raise BundleError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it ({_brief(error)}); export the model again"
        ) from error
    _check(path, session, spec)
    if insist and session.get_providers()[0] != providers[0]:
        raise InputError(
            f"execution provider '{providers[0]}' does not start here (its libraries or device are missing); "
            f"in use would be {session.get_providers()[0]}"
        )
    release_memory()
    return Graph(session, spec)


def _check(path: Path, session: onnxruntime.InferenceSession, spec: GraphSpec) -> None:
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node for node in session.get_outputs()}
    if set(inputs) != set(spec.inputs):
        _disagrees(path, f"its inputs are {_names(inputs)}, not {_names(spec.inputs)}")
    if not set(outputs) >= set(spec.outputs):
        _disagrees(path, f"its outputs are {_names(outputs)}, not {_names(spec.outputs)}")
    for name, shape in spec.inputs.items():
        if inputs[name].type != spec.input_type(name):
            _disagrees(path, f"input '{name}' is {inputs[name].type}, not {spec.input_type(name)}")
        if not _fits(inputs[name].shape, shape):
            _disagrees(path, f"input '{name}' is {_text(inputs[name].shape)}, not {_text(shape)}")
    for name, shape in spec.outputs.items():
        if outputs[name].type != F32:
            _disagrees(path, f"output '{name}' is {outputs[name].type}, not {F32}")
        # A graph need not know its outputs' shapes.
        if outputs[name].shape and not _fits(outputs[name].shape, shape, output=True):
            _disagrees(path, f"output '{name}' is {_text(outputs[name].shape)}, not {_text(shape)}")


def _disagrees(path: Path, how: str) -> None:
    raise BundleError(f"{path}: disagrees with the manifest: {how}; export the model again")


def _fits(found: Sequence[int | str | None], wanted: Shape, *, output: bool = False) -> bool:
    if len(found) != len(wanted):
        return False
    for size, expected in zip(found, wanted, strict=True):
        free = not isinstance(size, int)
        if expected is None and not free and not output:
            return False
        if expected is not None and not free and size != expected:
            return False
    return True


def _names(names: dict[str, Any]) -> str:
    return ", ".join(sorted(names)) or "none"


def _text(shape: Sequence[int | str | None]) -> str:
    return "[" + ", ".join(str(size) if isinstance(size, int) else "N" for size in shape) + "]"


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:199] + "…"
