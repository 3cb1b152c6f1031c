"""The workstation side of whycam: training and export."""

import whycam  # noqa: F401 - before ONNX Runtime, which then reports to nobody
