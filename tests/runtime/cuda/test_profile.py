"""On a GPU alone: what ONNX Runtime's own profile says of the runs that decisions are made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tiny_bundle import SIZE, T

from whycam.bundle import Bundle
from whycam.cuda.device import Device
from whycam.detect import Detector, Model, opening
from whycam.detect.placement import Placement, profiled

pytestmark = pytest.mark.gpu

COPIES = {"MemcpyToHost", "MemcpyFromHost"}
"""The nodes that ONNX Runtime puts into a graph where one provider's node reads what another's has written; both are
the GPU's, so that the provider of a node does not tell."""


@pytest.mark.parametrize("device", ["gpu"], indirect=True)
def test_no_graph_that_a_decision_runs_copies_to_the_host_or_back(
    bundle: Path, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions: list[onnxruntime.InferenceSession] = []

    def profiled_on(
        open_session: Callable[[Any], onnxruntime.InferenceSession], options: Any
    ) -> tuple[onnxruntime.InferenceSession, Placement]:
        _, placement = profiled(open_session, options)
        # Once more, and profiled for as long as it is open.
        options.profile_file_prefix = str(tmp_path / f"profile-{len(sessions)}")
        sessions.append(open_session(options))
        return sessions[-1], placement

    monkeypatch.setattr(opening, "profiled", profiled_on)
    detector = Detector(Model(Bundle.open(bundle), providers=["cuda"], device=device))
    for frame in np.random.default_rng(0).integers(0, 256, (2 * T, SIZE, SIZE, 3), np.uint8):
        detector.push(frame)
    assert len(sessions) == 2
    for session in sessions:
        events = json.loads(Path(session.end_profiling()).read_text())
        nodes = [event["args"] for event in events if event["cat"] == "Node" and "op_name" in event.get("args", {})]
        assert {node["provider"] for node in nodes if node.get("provider")} == {"CUDAExecutionProvider"}
        assert not COPIES & {node["op_name"] for node in nodes}
