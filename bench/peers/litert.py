"""LiteRT, which was TensorFlow Lite: the whole model, converted with its weights frozen, on XNNPACK."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.network import Network, preprocess


class LiteRt:
    """The interpreter, on all cores."""

    def __init__(self, network: Network) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.frames = network.shape.frames
        self._interpreter = Interpreter(model_path=str(_file(network)), num_threads=os.cpu_count())
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def decide(self, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input, preprocess(window)[np.newaxis])
        self._interpreter.invoke()
        found: NDArray[np.float32] = self._interpreter.get_tensor(self._output)[0]
        return found


def convert_to_litert(network: Network) -> None:
    """Convert it. Resource variables, which the converter makes of weights else, fail when they are run."""
    import keras
    import tensorflow as tf

    model = keras.models.load_model(network.model, compile=False)
    shape = network.shape
    signature = [tf.TensorSpec((1, shape.frames, shape.side, shape.side, 3), tf.float32)]
    call: Any = tf.function(lambda frames: model(frames, training=False), input_signature=signature)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter = tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()])
        converter.experimental_enable_resource_variables = False
        _file(network).write_bytes(converter.convert())


def _file(network: Network) -> Path:
    return network.folder / "whole.tflite"
