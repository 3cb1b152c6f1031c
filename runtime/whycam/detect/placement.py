"""Which execution provider really runs a graph: not what was asked for, but what ONNX Runtime's profile tells."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whycam.detect.graphs import U8

if TYPE_CHECKING:
    import onnxruntime

_KERNEL = "_kernel_time"
"""How the name of a node's event ends that tells who computed it; others of the node are of waiting."""
_NO_CAPTURE = ("gpu_graph_id", "-1")


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

    @property
    def runs_on(self) -> str:
        """ONNX Runtime's name of the provider that most of the time is spent on."""
        return next(iter(self.parts))

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

    Free sizes of inputs are 1. Raises what opening or running raises, and ValueError where no node has run.
    """
    with tempfile.TemporaryDirectory(prefix="whycam-profile-") as folder:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = open_session(options)
        session.run(None, _zeros(session), _without_capture())
        return session, Placement.of(json.loads(Path(session.end_profiling()).read_bytes()))


def _zeros(session: onnxruntime.InferenceSession) -> dict[str, Any]:
    return {
        node.name: np.zeros(
            [size if isinstance(size, int) else 1 for size in node.shape], np.uint8 if node.type == U8 else np.float32
        )
        for node in session.get_inputs()
    }


def _without_capture() -> onnxruntime.RunOptions:
    """Options of a run that no CUDA graph is made of: its inputs are not where those of later runs will be."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry(*_NO_CAPTURE)
    return options
