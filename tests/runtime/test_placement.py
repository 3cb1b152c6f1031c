"""Which execution provider really runs a graph, as ONNX Runtime's profile tells it."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from whycam.detect.placement import Placement, profiled

TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"


def node(name: str, operator: str, provider: str, microseconds: int) -> dict[str, Any]:
    """A node's event as ONNX Runtime's executor writes it."""
    arguments = {"op_name": operator, "provider": provider, "node_index": "0", "output_size": "16"}
    return {
        "cat": "Node",
        "pid": 7,
        "tid": 7,
        "dur": microseconds,
        "ts": 100,
        "ph": "X",
        "name": f"{name}_kernel_time",
        "args": arguments,
    }


SESSION = [
    {"cat": "Session", "pid": 7, "tid": 7, "dur": 40, "ts": 1, "ph": "X", "name": "model_loading_uri", "args": {}},
    {"cat": "Session", "pid": 7, "tid": 7, "dur": 900, "ts": 2, "ph": "X", "name": "model_run", "args": {}},
]
ON_CUDA = [
    *SESSION,
    node("Cast_0", "Cast", CUDA, 30),
    # Older versions tell how long a node has waited too.
    node("Conv_1", "Conv", CUDA, 600),
    {**node("Conv_1", "Conv", CUDA, 5), "name": "Conv_1_fence_before", "args": {"op_name": "Conv"}},
    # What CUDA itself timed, where ONNX Runtime was built to ask: it is in the time of the node.
    {**node("", "Conv", CUDA, 580), "cat": "Kernel", "name": "implicit_convolve_sgemm", "args": {"stream": "7"}},
    node("Memcpy", "MemcpyToHost", CUDA, 170),
    node("GRU_9", "GRU", CPU, 200),
]
FUSED = "TensorrtExecutionProvider_TRTKernel_graph_main_graph_12802227604276161730_0_0"
ON_TENSORRT = [
    *SESSION,
    node("Cast_0", "Cast", CUDA, 10),
    node(FUSED, "TRTKernel_graph_main_graph_12802227604276161730_0", TENSORRT, 90),
]


def test_each_node_counts_for_who_ran_it() -> None:
    placement = Placement.of(ON_CUDA)
    assert next(iter(placement.parts)) == CUDA
    assert {provider: (part.nodes, part.share) for provider, part in placement.parts.items()} == {
        CUDA: (3, pytest.approx(0.8)),
        CPU: (1, pytest.approx(0.2)),
    }
    assert placement.parts[CPU].operators == ("GRU",)


def test_what_tensorrt_takes_in_one_piece_is_one_node() -> None:
    placement = Placement.of(ON_TENSORRT)
    assert list(placement.parts) == [TENSORRT, CUDA]
    assert (placement.parts[TENSORRT].nodes, placement.parts[TENSORRT].share) == (1, pytest.approx(0.9))


def test_nodes_too_quick_to_be_timed_count_alike() -> None:
    placement = Placement.of([node("A", "Add", CUDA, 0), node("B", "Mul", CUDA, 0), node("C", "Cast", CPU, 0)])
    assert (next(iter(placement.parts)), placement.parts[CPU].share) == (CUDA, pytest.approx(1 / 3))


def test_a_profile_without_nodes_tells_nothing() -> None:
    with pytest.raises(ValueError, match="names no node that has run"):
        Placement.of(SESSION)


@pytest.mark.parametrize(
    ("file", "operators"),
    [
        ("features.onnx", {"AveragePool", "Cast", "Div", "Mul", "ReduceMean", "Transpose"}),  # uint8 [N, H, W, 3]
        ("head.onnx", {"MatMul", "Mul", "ReduceSum", "Softmax"}),  # float [N, T, F]
        ("head_vjp.onnx", {"MatMul", "Mul", "ReduceSum"}),  # two inputs, without a free size
    ],
)
def test_a_session_on_the_cpu_is_run_once_and_read(
    file: str, operators: set[str], built_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    start = partial(onnxruntime.InferenceSession, built_bundle / file, providers=[CPU])
    session, placement = profiled(start, onnxruntime.SessionOptions())
    assert list(placement.parts) == [CPU]
    assert placement.parts[CPU].share == 1
    assert set(placement.parts[CPU].operators) == operators
    assert list(tmp_path.iterdir()) == []
    assert session.get_providers() == [CPU]


class Truncated(onnxruntime.InferenceSession):
    """A session on a disk that is full before its profile is written to the end."""

    def end_profiling(self) -> str:
        path = super().end_profiling()
        Path(path).write_bytes(Path(path).read_bytes()[:100])
        return path


@pytest.mark.parametrize(("kind", "folder"), [(onnxruntime.InferenceSession, "missing"), (Truncated, ".")])
def test_without_a_profile_the_first_provider_is_taken_to_run_all(
    kind: type,
    folder: str,
    built_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / folder))
    start = partial(kind, built_bundle / "features.onnx", providers=[CPU])
    session, placement = profiled(start, onnxruntime.SessionOptions())
    assert {provider: part.share for provider, part in placement.parts.items()} == {CPU: 1}
    assert "what runs on CPUExecutionProvider cannot be told" in caplog.text
    assert session.run(None, {"frames": np.zeros((1, 8, 8, 3), np.uint8)})


def test_the_events_are_those_that_onnx_runtime_writes(built_bundle: Path, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(built_bundle / "head_vjp.onnx", options, providers=[CPU])
    session.run(None, {one.name: np.zeros(one.shape, np.float32) for one in session.get_inputs()})
    written = [event for event in json.loads(Path(session.end_profiling()).read_text()) if event["cat"] == "Node"]
    for event in written:
        assert event["name"].endswith("_kernel_time")
        assert set(node("", "", "", 0)) == set(event)
        assert {"op_name", "provider", "node_index", "output_size"} <= set(event["args"])
