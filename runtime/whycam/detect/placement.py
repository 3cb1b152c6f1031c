"""Which execution provider really runs a graph: not what was asked for, but what ONNX Runtime's profile tells."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whycam.detect.graphs import U8

if TYPE_CHECKING:
    import onnxruntime

log = logging.getLogger(__name__)

_KERNEL = "_kernel_time"
"""How the name of a node's event ends that tells who computed it; others of the node are of waiting."""


@dataclass(frozen=True)
class Part:
    """What a provider runs of a graph."""

    nodes: int
    """Those that ONNX Runtime makes of the graph: what TensorRT takes in one piece is one."""
    share: float
    """Of the time of all nodes, 0 to 1. CUDA's nodes are timed until they are queued, not until they are done."""
    operators: tuple[str, ...]
    """Of its nodes, each once."""


@dataclass(frozen=True)
class Placement:
    """Which provider runs what of a graph."""

    parts: Mapping[str, Part]
    """By ONNX Runtime's name of the provider, the largest share first; never empty."""

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]]) -> Placement:
        """Read from the `events` of a profile as ONNX Runtime writes it; raises ValueError where no node has run."""
        nodes: dict[str, list[tuple[int, str]]] = {}
        for event in events:
            provider = event.get("args", {}).get("provider")
            # Events of the category Kernel are CUDA's own; their time is that of the nodes that started them.
            if provider and event["cat"] == "Node" and event["name"].endswith(_KERNEL):
                nodes.setdefault(provider, []).append((event["dur"], event["args"]["op_name"]))
        if not nodes:
            raise ValueError("the profile names no node that has run")
        total = sum(taken for found in nodes.values() for taken, _ in found)
        count = sum(map(len, nodes.values()))
        parts = {
            provider: Part(
                nodes=len(found),
                # Microseconds: those of a small graph may all be nought.
                share=sum(taken for taken, _ in found) / total if total else len(found) / count,
                operators=tuple(sorted({operator for _, operator in found})),
            )
            for provider, found in nodes.items()
        }
        return cls(dict(sorted(parts.items(), key=lambda item: -item[1].share)))


def profiled(
    open_session: Callable[[onnxruntime.SessionOptions], onnxruntime.InferenceSession],
    options: onnxruntime.SessionOptions,
) -> tuple[onnxruntime.InferenceSession, Placement]:
    """The session that `open_session` makes of `options`, after a run on zeros, and what its profile says.

    Free sizes of inputs are 1. Where no profile can be written, on a full disk say, all is taken to run on the first of
    its providers, and that is logged. Raises what opening or running raises.
    """
    with ExitStack() as opened:
        try:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="whycam-profile-"))
        except OSError as error:
            session = open_session(options)
            session.run(None, _zeros(session), recorded_as(None))
            return session, _supposed(session, error)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = open_session(options)
        session.run(None, _zeros(session), recorded_as(None))
        try:
            return session, Placement.of(json.loads(Path(session.end_profiling()).read_bytes()))
        except (OSError, ValueError) as error:
            return session, _supposed(session, error)


def _supposed(session: onnxruntime.InferenceSession, error: Exception) -> Placement:
    provider = str(session.get_providers()[0])
    log.warning("what runs on %s cannot be told (%s)", provider, error)
    return Placement({provider: Part(nodes=0, share=1.0, operators=())})


def _zeros(session: onnxruntime.InferenceSession) -> dict[str, Any]:
    return {
        node.name: np.zeros(
            [size if isinstance(size, int) else 1 for size in node.shape], np.uint8 if node.type == U8 else np.float32
        )
        for node in session.get_inputs()
    }


def recorded_as(number: int | None) -> onnxruntime.RunOptions:
    """Options of a run that is recorded as the CUDA graph of that number, above 0, and replayed once it is.

    None is for a run that none is made of: its inputs are not where those of others are.
    """
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", "-1" if number is None else str(number))
    return options
