"""The checks that there are: their names for scripts, and their titles on the screen, in its order."""

from __future__ import annotations

SECTIONS = {
    "platform": "Platform",
    "software": "Software",
    "system": "System",
    "service": "Service",
    "broker": "Broker",
    "camera": "Cameras",
    "bundle": "Models",
}
"""What a check's name begins with, and what the screen calls it."""

CHECKS = {
    "platform.device": "Device",
    "platform.system": "Distribution",
    "platform.jetpack": "JetPack",
    "platform.gpu": "GPU",
    "platform.power": "Power mode",
    "platform.temperature": "Temperatures",
    "software.python": "Python",
    "software.numpy": "NumPy",
    "software.onnxruntime": "ONNX Runtime",
    "software.cuda": "CUDA code",
    "software.tensorrt": "TensorRT",
    "software.kernels": "CUDA kernels",
    "software.opencv": "OpenCV",
    "system.clock": "Clock",
    "system.groups": "Groups",
    "system.state": "State folder",
    "system.disk": "Disk",
    "system.secrets": "Secrets",
    "service.unit": "Unit",
    "service.running": "Running",
    "broker.name": "Name",
    "broker.tcp": "TCP",
    "broker.tls": "TLS",
    "broker.login": "Login",
    "broker.publish": "May publish",
    "broker.hear": "May listen",
    "camera.open": "Picture",
    "camera.rate": "Frame rate",
    "bundle.files": "Bundle",
    "bundle.signature": "Signature",
    "bundle.self_test": "Self-test",
    "bundle.speed": "Speed",
}
"""Name and title of each check."""


def section_of(check: str) -> str:
    """The section of the check's name."""
    return check.partition(".")[0]
