"""ONNX Runtime as on a device with a GPU, as far as sessions go: they compute on the CPU and say that they did not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"


@dataclass
class Device:
    """What happens on it, and what happened."""

    raises: dict[str, str] = field(default_factory=dict)
    """By provider: what opening a session fails with where it comes first."""
    missing: set[str] = field(default_factory=set)
    """Providers that ONNX Runtime leaves out of a session without a word."""
    left_to_cpu: Callable[[str], bool] = lambda operator: False
    """Whether an operator is one that the GPU lacks."""
    captures: bool = True
    """Whether CUDA graphs can be made."""
    build_seconds: float = 0.0
    """How long TensorRT takes for a session."""
    opened: list[tuple[str, list[tuple[str, dict[str, Any]]]]] = field(default_factory=list)
    """Of each session that was tried: its file, and its providers with their options."""

    def tried(self, file: str) -> list[str]:
        """The provider that came first, of each try to open a file."""
        return [providers[0][0] for name, providers in self.opened if name == file]


def install(monkeypatch: pytest.MonkeyPatch, engines: Path) -> Device:
    """Put a device in the place of ONNX Runtime's sessions; TensorRT's engines are to be kept in `engines`."""
    device, real = Device(), onnxruntime.InferenceSession

    class Session(real):  # type: ignore[misc, valid-type]  # mypy takes no variable for a base
        def __init__(self, path: Path, sess_options: Any, providers: list[Any]) -> None:
            device.opened.append((Path(path).name, providers))
            first, options = providers[0]
            if first in device.raises:
                raise RuntimeError(device.raises[first])
            if not device.captures and options.get("enable_cuda_graph"):
                raise RuntimeError("not all nodes are on one provider")
            if first == TENSORRT:
                time.sleep(device.build_seconds)
            self._claimed = [name for name, _ in providers if name not in device.missing]
            super().__init__(path, sess_options, providers=[CPU])

        def get_providers(self) -> list[str]:
            return self._claimed

        def end_profiling(self) -> str:
            path = Path(super().end_profiling())
            events = json.loads(path.read_text())
            for event in events:
                if event["cat"] == "Node" and not device.left_to_cpu(event["args"]["op_name"]):
                    event["args"]["provider"] = self._claimed[0]
            path.write_text(json.dumps(events))
            return str(path)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setenv("WHYCAM_ENGINES", str(engines))
    # Set by what is tested, and taken back after the test.
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    return device
