"""ONNX Runtime as anybody would open it: what whycam's graphs are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime


def plain_session(model: Path | bytes) -> onnxruntime.InferenceSession:
    """A session on the CPU with the options that ONNX Runtime has by itself, but that its threads sleep after a run.

    Those that go on spinning take the cores from the way that is timed next in the same process.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])
