"""Opening a graph of a bundle: on the first execution provider that takes it, where it is what it should be."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whycam.bundle import Bundle
from whycam.cuda.turns import TURNS
from whycam.detect.engines import gpu_memory, holds_engine
from whycam.detect.graphs import F32, FREE, GraphSpec, Shape
from whycam.detect.memory import release_memory
from whycam.detect.placement import Placement, profiled
from whycam.detect.provider_libraries import library_of, load_problem, load_wheels, quiet, why_not_started
from whycam.detect.providers import CPU, CUDA, ENGINES, TENSORRT, GraphUse, Options, title, with_options
from whycam.detect.sessions import Graph, brief
from whycam.errors import BundleError, InputError

if TYPE_CHECKING:
    import onnxruntime

Announce = Callable[[str], None]
"""Is told in one line what is going to take minutes."""

log = logging.getLogger(__name__)

_ERRORS_ONLY = 3


def open_graph(
    bundle: Bundle,
    spec: GraphSpec,
    providers: Sequence[str],
    *,
    threads: int | None = None,
    insist: bool = False,
    rare: bool = False,
    announce: Announce | None = None,
    stream: int | None = None,
    fixed_addresses: bool = False,
) -> Graph:
    """The graph of `bundle` that `spec` describes, on the first of `providers` (ONNX Runtime's names) that takes it.

    The others run the operators that it lacks. Where one does not start or does not take the graph, the next does, and
    that is logged; with `insist`, never the CPU alone. On a GPU the graph has been run once, on zeros, and `announce`
    is told where an engine is built for that.

    On the CPU it runs in `threads` threads; None is one for each core.

    With `rare` it is one that does not run for every frame: it opens sooner and holds its weights once, without the
    copies that make products a little faster, and gives back what a run has needed.

    `stream` is the address of the CUDA stream to compute on. `fixed_addresses` says that each run is of one batch of 1,
    from one thread, bound to the same places in the GPU's memory: it may be replayed as a CUDA graph.

    Raises BundleError where its file is missing, changed, not loadable or disagrees with `spec`; with `insist`,
    InputError where none of the providers but the CPU takes it.
    """
    path = bundle.file(spec.file)
    memory = None if list(providers) == [CPU] else gpu_memory()
    refused: list[str] = []
    for provider, captured in _attempts(providers, insist=insist, fixed_addresses=fixed_addresses):
        # Frames go through TensorRT one by one: an engine is quickest that is of one size.
        one = captured or (provider == TENSORRT and spec.role in ("features", "step"))
        use = GraphUse(
            spec.file,
            bundle.manifest.files[spec.file].sha256,
            spec.role,
            spec.inputs,
            most=1 if one else spec.most,
            memory=memory,
            stream=stream,
            fixed_addresses=captured,
        )
        chain = with_options(providers[providers.index(provider) :], use)
        try:
            session, placement = _start(path, chain, spec, _options(threads, rare=rare, one=one), announce, one=one)
        except BundleError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
            if provider == CPU:
                raise _not_loadable(path, error) from error
            library = library_of(provider)
            why = (library and load_problem(library)) or brief(error)
            refused.append(f"{title(provider)} does not take it{' as a CUDA graph' * captured} ({why})")
            continue
        _tell(spec.file, provider, refused, placement, rare=rare)
        release_memory()
        return Graph(session, spec, placement, captured=captured)
    raise InputError(
        f"execution provider {title(providers[0])} does not run {spec.file} here: {'; '.join(refused)}; name cpu too "
        "where the CPU may"
    )


def _attempts(providers: Sequence[str], *, insist: bool, fixed_addresses: bool) -> list[tuple[str, bool]]:
    """The providers to try, CUDA first by a CUDA graph where that may be: one needs all nodes on one provider.

    Not TensorRT: ONNX Runtime's part for it keeps one recording for a session, and replays it for any places.
    """
    able = [provider for provider in providers if provider != CPU or not insist]
    return [
        (provider, captured)
        for provider in able
        for captured in ((True, False) if fixed_addresses and provider == CUDA else (False,))
    ]


def _options(threads: int | None, *, rare: bool, one: bool) -> onnxruntime.SessionOptions:
    import onnxruntime

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
    if one:
        options.add_free_dimension_override_by_name(FREE, 1)
    return options


def _start(
    path: Path,
    providers: Sequence[tuple[str, Options]],
    spec: GraphSpec,
    options: onnxruntime.SessionOptions,
    announce: Announce | None,
    *,
    one: bool,
) -> tuple[onnxruntime.InferenceSession, Placement | None]:
    """The session on `providers`, the first of which runs some of it, and on a GPU which of them runs what.

    Raises what ONNX Runtime raises, ValueError where the first of the providers does not run any of it, and BundleError
    where the graph is not as `spec` says.
    """
    import onnxruntime

    first, own = providers[0]
    if first == CPU:
        session = onnxruntime.InferenceSession(path, sess_options=options, providers=list(providers))
        _check(path, session, spec, one=one)
        return session, None

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc] # it has no types
        # ONNX Runtime would else print on stdout what went wrong, and go on with the CPU. Its own argument against that
        # came with 1.23; before, opening sets this whatever it is given.
        _enable_fallback = property(lambda _: False, lambda *_: None)

    def open_session(chosen: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        load_wheels()
        with quiet():
            session = Session(path, sess_options=chosen, providers=list(providers))
        if session.get_providers()[0] != first:
            raise ValueError(why_not_started(first))
        _check(path, session, spec, one=one)
        return session

    began = time.monotonic()
    building = first == TENSORRT and _builds(spec.file, own, announce)
    with TURNS.shared():
        session, placement = profiled(open_session, options)
    if first not in placement.parts:
        raise ValueError("it runs none of its nodes")
    if building:
        log.info("TensorRT's engine of %s was built in %.0f seconds", spec.file, time.monotonic() - began)
    return session, placement


def _builds(file: str, options: Options, announce: Announce | None) -> bool:
    """Whether TensorRT has to build an engine with these options, which then is announced."""
    # None of them keeps products of float32 as exact as float32 is; NVIDIA's libraries read this when the process uses
    # them first.
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    folder = options.get(ENGINES)
    if folder is not None and holds_engine(Path(folder)):
        return False
    kept = "not kept, see above" if folder is None else f"kept in {Path(folder).parent}"
    told = f"building TensorRT's engine of {file}, which takes minutes ({kept})"
    log.info("%s", told)
    if announce is not None:
        announce(told)
    return True


def _tell(file: str, provider: str, refused: Sequence[str], placement: Placement | None, *, rare: bool) -> None:
    """Log what steps in for what was asked for, and what the CPU has to do for every frame."""
    if refused:
        log.warning("%s runs on %s: %s", file, title(provider), "; ".join(refused))
    if placement is None or rare or CPU not in placement.parts:
        return
    left, count = placement.parts[CPU], sum(part.nodes for part in placement.parts.values())
    log.warning(
        "%s: of %d nodes %d run on the CPU, not on %s, in %.0f %% of the time (%s)",
        file,
        count,
        left.nodes,
        title(provider),
        100 * left.share,
        ", ".join(left.operators),
    )


def _not_loadable(path: Path, error: Exception) -> BundleError:
    import onnxruntime

    return BundleError(
        f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it ({brief(error)}); export the model again"
    )


def _check(path: Path, session: onnxruntime.InferenceSession, spec: GraphSpec, *, one: bool) -> None:
    """Raise BundleError where the session's graph is not as `spec` says; with `one`, its free sizes may be 1."""
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node for node in session.get_outputs()}
    if set(inputs) != set(spec.inputs):
        _disagrees(path, f"its inputs are {_names(inputs)}, not {_names(spec.inputs)}")
    if not set(outputs) >= set(spec.outputs):
        _disagrees(path, f"its outputs are {_names(outputs)}, not {_names(spec.outputs)}")
    for name, shape in spec.inputs.items():
        if inputs[name].type != spec.input_type(name):
            _disagrees(path, f"input '{name}' is {inputs[name].type}, not {spec.input_type(name)}")
        if not _fits(inputs[name].shape, shape, one=one):
            _disagrees(path, f"input '{name}' is {_text(inputs[name].shape)}, not {_text(shape)}")
    for name, shape in spec.outputs.items():
        if outputs[name].type != F32:
            _disagrees(path, f"output '{name}' is {outputs[name].type}, not {F32}")
        # A graph need not know its outputs' shapes.
        if outputs[name].shape and not _fits(outputs[name].shape, shape, output=True, one=one):
            _disagrees(path, f"output '{name}' is {_text(outputs[name].shape)}, not {_text(shape)}")


def _disagrees(path: Path, how: str) -> None:
    raise BundleError(f"{path}: disagrees with the manifest: {how}; export the model again")


def _fits(found: Sequence[int | str | None], wanted: Shape, *, output: bool = False, one: bool = False) -> bool:
    if len(found) != len(wanted):
        return False
    for size, expected in zip(found, wanted, strict=True):
        free = not isinstance(size, int)
        if expected is None and not free and not output and not (one and size == 1):
            return False
        if expected is not None and not free and size != expected:
            return False
    return True


def _names(names: dict[str, Any]) -> str:
    return ", ".join(sorted(names)) or "none"


def _text(shape: Sequence[int | str | None]) -> str:
    return "[" + ", ".join(str(size) if isinstance(size, int) else "N" for size in shape) + "]"
