"""Calibration of whycam bundles: precision and thresholds from real footage."""

import whycam  # noqa: F401 - before ONNX Runtime, which then reports to nobody
