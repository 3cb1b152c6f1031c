"""The ways from frames to a decision, and to its reasons, that are compared: a file for each, with one interface.

A peer is made of the network, in a process of its own, and asked to `decide` on one window after another, each a frame
further than the one before. Peers that slide take the newest frame alone, but for the first window, which fills them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.network import Network
from bench.peers.keras_predict import KerasPredict
from bench.peers.litert import LiteRt, convert_to_litert
from bench.peers.onnx_whole import OnnxWhole, convert_whole
from bench.peers.onnx_window import OnnxWindow
from bench.peers.openvino_runtime import OpenVinoFrames, OpenVinoFramesInt8, OpenVinoWindow
from bench.peers.whycam_push import WhycamFp32, WhycamInt8

Array = NDArray[np.float32]


class Decider(Protocol):
    """What decides."""

    frames: int
    """How many frames of a window it looks at, the newest ones."""

    def decide(self, window: NDArray[np.uint8]) -> Array:
        """Scores [K] of the window uint8 [T, H, W, 3] BGR at the model's size."""


@dataclass(frozen=True)
class Peer:
    """A way to a decision."""

    name: str
    title: str
    make: Callable[[Network], Decider]
    convert: Callable[[Network], None] | None = None
    """What must be done first, once, in a process of its own; it may fail."""
    int8: bool = False


KERAS = "keras"
PEERS = (
    Peer(KERAS, "Keras, predict on the window", KerasPredict),
    Peer("onnx-whole", "ONNX Runtime, the whole model by tf2onnx", OnnxWhole, convert_whole),
    Peer("litert", "LiteRT, the whole model", LiteRt, convert_to_litert),
    Peer("onnx-window", "ONNX Runtime, CNN and head on the window", OnnxWindow),
    Peer("openvino-window", "OpenVINO, CNN and head on the window", OpenVinoWindow),
    Peer("openvino-frames", "OpenVINO, frame by frame, fp32", OpenVinoFrames),
    Peer("openvino-frames-int8", "OpenVINO, frame by frame, INT8", OpenVinoFramesInt8, int8=True),
    Peer("whycam", "whycam, fp32", WhycamFp32),
    Peer("whycam-int8", "whycam, INT8", WhycamInt8, int8=True),
)
