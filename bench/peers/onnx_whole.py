"""The whole model as it was trained, TimeDistributed, through tf2onnx: the plain way from Keras to ONNX Runtime.

tf2onnx copies the CNN once for each frame of the window, and its memory grows with the copies: 8 frames took 12 GB, 20
more than 14 GB. So a network of fewer frames is converted, with the same weights.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.network import CLASSES, Network, preprocess

FRAMES = 4
"""Of the network that is converted."""
MOST_BYTES = min(12 * 2**30, 0.8 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
MOST_SECONDS = 240
"""Conversion is given up beyond either."""


class OnnxWhole:
    """One graph from frames to scores."""

    def __init__(self, network: Network) -> None:
        import onnxruntime

        self.frames = min(FRAMES, network.shape.frames)
        self._session = onnxruntime.InferenceSession(_file(network), providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def decide(self, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        frames = preprocess(window[-self.frames :])[np.newaxis]
        found: NDArray[np.float32] = self._session.run(None, {self._input: frames})[0][0]
        return found


def convert_whole(network: Network) -> None:
    """Convert it; raises RuntimeError where what comes out disagrees with Keras."""
    threading.Thread(target=_watch, daemon=True).start()
    # Without these, each of its optimizers works on a copy of all weights, and keeps it.
    os.environ["TF2ONNX_CATCH_ERRORS"] = "FALSE"
    gc.set_threshold(2000, 1, 1)
    import keras
    import onnx
    import tensorflow as tf
    import tf2onnx

    from whycam_export.training.network import Architecture, paper_network

    shape, side = network.shape, network.shape.side
    architecture = Architecture(
        size=(side, side),
        frames=min(FRAMES, shape.frames),
        units=shape.units,
        dense=shape.dense,
        width=shape.width,
    )
    model = paper_network(len(CLASSES), architecture)
    model.set_weights(keras.models.load_model(network.model, compile=False).get_weights())
    signature = [tf.TensorSpec((1, architecture.frames, side, side, 3), tf.float32, name="frames")]
    call = tf.function(lambda frames: model(frames, training=False), input_signature=signature)
    converted, _ = tf2onnx.convert.from_function(call, input_signature=signature, opset=17)
    onnx.save(converted, _file(network))
    window = network.images(shape.frames)
    wanted = model.predict(preprocess(window[-architecture.frames :])[np.newaxis], verbose=0)[0]
    difference = float(np.abs(OnnxWhole(network).decide(window) - wanted).max())
    if difference > 1e-4:
        raise RuntimeError(f"what tf2onnx made disagrees with Keras by {difference:.1e}")


def _file(network: Network) -> Path:
    return network.folder / "whole.onnx"


def _watch() -> None:
    """End this process where it takes too much, before the machine does."""
    began, page = time.monotonic(), os.sysconf("SC_PAGE_SIZE")
    while True:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * page
        if resident > MOST_BYTES or time.monotonic() - began > MOST_SECONDS:
            os._exit(TOO_MUCH)
        time.sleep(0.5)


TOO_MUCH = 77
"""Exit status of a conversion that was given up."""
