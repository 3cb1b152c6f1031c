"""Reading a head off its Keras layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import keras
import numpy as np

from whycam_export import attention
from whycam_export.convert.head.activations import ACTIVATIONS
from whycam_export.convert.head.cells import Cell, GruCell, LstmCell, Weights
from whycam_export.convert.head.recurrent import MERGES, Recurrent
from whycam_export.convert.head.stages import (
    Activation,
    Affine,
    Array,
    AverageOverTime,
    Dense,
    FlattenTime,
    LayerNormalization,
    MaximumOverTime,
    Stage,
    TemporalAttention,
)
from whycam_export.errors import ModelError

layers = keras.layers

SUPPORTED = (
    "GRU, LSTM, Bidirectional, Dense, Dropout, activations, BatchNormalization, LayerNormalization, Flatten, "
    "GlobalAveragePooling1D, GlobalMaxPooling1D and whycam's TemporalAttention"
)
UNLIKE = "its two directions are not of one kind; make the backward layer like the forward one"
INERT = (
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.GaussianNoise,
    layers.GaussianDropout,
    layers.AlphaDropout,
    layers.ActivityRegularization,
    layers.InputLayer,
    layers.Identity,
)
"""Layers that do nothing at inference."""


@dataclass(frozen=True)
class Head:
    """A recurrent head: f32 [N,T,F] -> logits [N,K]."""

    frames: int
    features: int
    stages: tuple[Stage, ...]
    classes: int
    single_sigmoid: bool
    """One output z: the logits are [-z, z] and their sigmoids the scores; else the scores are the softmax."""

    @property
    def has_attention(self) -> bool:
        """Whether attention pools the frames."""
        return any(isinstance(stage, TemporalAttention) for stage in self.stages)

    @property
    def no_step(self) -> str | None:
        """Why there is no step graph; None where there is one."""
        return next((stage.no_step for stage in self.stages if stage.no_step is not None), None)


def read_head(keras_layers: Sequence[keras.Layer], frames: int, features: int) -> Head:
    """The head that `keras_layers` form over windows of `frames` feature vectors of length `features`.

    Raises ModelError, with the layer's name, for what is not supported.
    """
    chain = [layer for layer in keras_layers if not isinstance(layer, INERT)]
    if not any(isinstance(layer, layers.GRU | layers.LSTM | layers.Bidirectional) for layer in chain):
        raise ModelError("the model has no GRU or LSTM layer behind its TimeDistributed layers")
    stages: list[Stage] = []
    width, sequence = features, True
    for layer in chain:
        made, width, sequence = _read(layer, frames, width, sequence)
        stages.extend(_named_apart(made, {stage.name for stage in stages}))
    if sequence:
        raise ModelError(
            f"layer '{chain[-1].name}': the model ends in a sequence; end it in a score per class for the whole window"
        )
    return _end(stages, chain[-1], frames, features, width)


def _named_apart(made: Sequence[Any], taken: set[str]) -> list[Stage]:
    """The stages of a layer by a name that is not `taken`: layers of nested models may have one name, and the weights
    go by it."""
    if not made or made[0].name not in taken:
        return list(made)
    name = next(name for name in (f"{made[0].name}_{number}" for number in count(2)) if name not in taken)
    return [stage.renamed(name) if isinstance(stage, Recurrent) else replace(stage, name=name) for stage in made]


def _end(stages: list[Stage], last: keras.Layer, frames: int, features: int, width: int) -> Head:
    ending = "linear"
    if isinstance(stages[-1], Activation):
        ending = stages[-1].function
        stages = stages[:-1]
    if (ending, width > 1) not in {("softmax", True), ("sigmoid", False), ("linear", True), ("linear", False)}:
        raise ModelError(
            f"layer '{last.name}': the model ends in {ending} over {width} outputs; "
            "end it in a softmax, in a single sigmoid, or in logits"
        )
    return Head(frames, features, tuple(stages), max(width, 2), width == 1)


def _read(layer: keras.Layer, frames: int, width: int, sequence: bool) -> tuple[list[Stage], int, bool]:
    """(stages, width of the vectors that leave, whether they are still a sequence)."""
    if isinstance(layer, layers.GRU | layers.LSTM | layers.Bidirectional):
        recurrent = _recurrent(layer, frames)
        both = recurrent.backward is not None and recurrent.merge == "concat"
        return [recurrent], recurrent.forward.units * (2 if both else 1), recurrent.sequences
    if isinstance(layer, layers.TimeDistributed) and sequence:
        return _read(layer.layer, frames, width, sequence)
    if isinstance(layer, layers.Dense):
        bias = _array(layer.bias) if layer.use_bias else None
        made: list[Stage] = [Dense(layer.name, _array(layer.kernel), bias)]
        function = _activation(layer, layer.activation)
        return made + ([Activation(layer.name, function)] if function != "linear" else []), layer.units, sequence
    if isinstance(layer, layers.Activation):
        return [Activation(layer.name, _activation(layer, layer.activation))], width, sequence
    if isinstance(layer, layers.Softmax) and layer.axis == -1:
        return [Activation(layer.name, "softmax")], width, sequence
    if isinstance(layer, layers.ReLU) and (layer.negative_slope, layer.threshold, layer.max_value) == (0, 0, None):
        return [Activation(layer.name, "relu")], width, sequence
    if isinstance(layer, layers.BatchNormalization):
        return [_affine(layer, sequence)], width, sequence
    if isinstance(layer, layers.LayerNormalization):
        return [_layer_normalization(layer, width, sequence)], width, sequence
    if isinstance(layer, attention.TemporalAttention) and sequence:
        pooling = TemporalAttention(layer.name, _array(layer.kernel), _array(layer.bias), _array(layer.query))
        return [pooling], width, False
    if isinstance(layer, layers.GlobalAveragePooling1D) and sequence:
        return [AverageOverTime(layer.name, width)], width, False
    if isinstance(layer, layers.GlobalMaxPooling1D) and sequence:
        return [MaximumOverTime(layer.name, width)], width, False
    if isinstance(layer, layers.Flatten):
        return ([FlattenTime(layer.name, frames, width)], frames * width, False) if sequence else ([], width, False)
    raise ModelError(
        f"layer '{layer.name}' ({type(layer).__name__}) is not supported behind the frames; supported are {SUPPORTED}"
    )


def _recurrent(layer: keras.Layer, frames: int) -> Recurrent:
    if isinstance(layer, layers.Bidirectional):
        if layer.merge_mode not in MERGES:
            raise ModelError(f"layer '{layer.name}': merge_mode {layer.merge_mode!r} is none of {', '.join(MERGES)}")
        forward, backward = layer.forward_layer, layer.backward_layer
        if type(forward) is not type(backward) or forward.go_backwards or not backward.go_backwards:
            raise ModelError(f"layer '{layer.name}': {UNLIKE}")
        cells = [
            _cell(layer.name, inner, f"{layer.name}/{way}")
            for inner, way in ((forward, "forward"), (backward, "backward"))
        ]
        # One node of ONNX serves both directions, so what is not a weight must be equal.
        if len({(cell.units, getattr(cell, "reset_after", None)) for cell in cells}) > 1:
            raise ModelError(f"layer '{layer.name}': {UNLIKE}")
        return Recurrent(layer.name, cells[0], bool(forward.return_sequences), frames, cells[1], layer.merge_mode)
    cell = _cell(layer.name, layer, layer.name)
    return Recurrent(layer.name, cell, bool(layer.return_sequences), frames, reverse=bool(layer.go_backwards))


def _cell(name: str, layer: keras.Layer, prefix: str) -> Cell:
    if not isinstance(layer, layers.GRU | layers.LSTM):
        raise ModelError(f"layer '{name}' ({type(layer).__name__}) is not supported; use GRU or LSTM")
    for option in ("stateful", "return_state"):
        if getattr(layer, option):
            raise ModelError(f"layer '{name}': {option}=True is not supported; every window starts from zeros")
    activation, gate = (_activation(layer, f) for f in (layer.activation, layer.recurrent_activation))
    cell = layer.cell
    kernel, recurrent = _array(cell.kernel), _array(cell.recurrent_kernel)
    bias, recurrent_bias = np.zeros((2, kernel.shape[1]), np.float32)
    if cell.use_bias:
        stored = _array(cell.bias)
        bias, recurrent_bias = stored if stored.ndim == 2 else (stored, recurrent_bias)
    weights = Weights(kernel, recurrent, bias, recurrent_bias)
    if isinstance(layer, layers.GRU):
        return GruCell(prefix, layer.units, weights, activation, gate, bool(layer.reset_after))
    return LstmCell(prefix, layer.units, weights, activation, gate)


def _affine(layer: keras.layers.BatchNormalization, sequence: bool) -> Affine:
    _last_axis(layer, sequence)
    mean, variance = _array(layer.moving_mean), _array(layer.moving_variance)
    scale = 1 / np.sqrt(variance + np.float32(layer.epsilon))
    if layer.scale:
        scale = scale * _array(layer.gamma)
    shift = -mean * scale + (_array(layer.beta) if layer.center else 0)
    return Affine(layer.name, scale.astype(np.float32), shift.astype(np.float32))


def _layer_normalization(layer: keras.layers.LayerNormalization, width: int, sequence: bool) -> LayerNormalization:
    _last_axis(layer, sequence)
    gamma = _array(layer.gamma) if layer.scale else np.ones(width, np.float32)
    beta = _array(layer.beta) if layer.center else np.zeros(width, np.float32)
    return LayerNormalization(layer.name, gamma, beta, float(layer.epsilon))


def _last_axis(layer: keras.Layer, sequence: bool) -> None:
    axes = list(layer.axis) if isinstance(layer.axis, list | tuple) else [layer.axis]
    if axes not in ([-1], [2 if sequence else 1]):
        kind = type(layer).__name__
        raise ModelError(f"layer '{layer.name}': {kind} over axis {layer.axis}; only the last axis is supported")


def _activation(layer: keras.Layer, function: Any) -> str:
    name = getattr(function, "__name__", None) or type(function).__name__
    if name not in ACTIVATIONS:
        raise ModelError(f"layer '{layer.name}': activation {name} is not supported; use {', '.join(ACTIVATIONS)}")
    return str(name)


def _array(variable: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(variable), dtype=np.float32)
