"""The subscriber's side: what devices publish, read with distrust, saved, and shown.

Importing this package needs neither OpenCV nor ONNX Runtime.
"""
