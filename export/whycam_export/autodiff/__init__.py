"""Reverse-mode differentiation of an ONNX graph into an ONNX graph.

No training framework is needed to run what comes out: it is a plain graph that ONNX Runtime executes.
"""

from whycam_export.autodiff.differentiate import differentiate
from whycam_export.autodiff.walk import DifferentiationError

__all__ = ["DifferentiationError", "differentiate"]
