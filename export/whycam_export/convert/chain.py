"""A Keras model as a chain of layers, cut where the frames end and the sequence begins."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

import whycam_export.attention  # noqa: F401 - Keras finds these layers in saved models once they are registered
from whycam_export.errors import ModelError

layers = keras.layers

FORM = "frames -> TimeDistributed layers -> GRU or LSTM layers -> dense layers"
FRAME_BY_FRAME = (
    layers.Rescaling,
    layers.Normalization,
    layers.Activation,
    layers.ReLU,
    layers.Dropout,
    layers.BatchNormalization,
    layers.Dense,
)
"""Layers that, on a sequence of frames, treat each frame alone even without TimeDistributed."""


@dataclass(frozen=True)
class Chain:
    """A model of the supported form, cut in two."""

    model: keras.Model
    frames: int
    height: int
    width: int
    per_frame: tuple[keras.Layer, ...]
    """Layers applied to each frame [H,W,3], taken out of their TimeDistributed wrappers."""
    head: tuple[keras.Layer, ...]
    """Layers applied to the sequence of feature vectors [T,F]."""


def load_model(path: str | os.PathLike[str]) -> keras.Model:
    """The Keras model saved at `path`; raises ModelError where it cannot be read."""
    file = Path(path)
    if not file.is_file():
        raise ModelError(f"{file}: no such file; give a model saved by Keras (.keras or .h5)")
    try:
        return keras.saving.load_model(file, compile=False)
    except Exception as error:  # Keras raises whatever the damage leads to
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(f"{file}: Keras cannot read it ({reason.strip()[:200]}); save the model again") from error


def cut(model: keras.Model, frames: int | None = None) -> Chain:
    """Cut `model` between its per-frame layers and its recurrent head.

    Args:
        model: takes [N,T,H,W,3] frames.
        frames: T, where the model leaves it open.

    Raises ModelError, with the layer's name, for a model of another form.
    """
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 5 or shape[-1] != 3:
        raise ModelError(
            f"model '{model.name}': its input is {shape}, not (batch, frames, height, width, 3); supported is {FORM}"
        )
    _, own_frames, height, width, _ = shape
    if height is None or width is None:
        raise ModelError(f"model '{model.name}': its input {shape} leaves the frame size open; build it with one")
    if own_frames is None and frames is None:
        raise ModelError(f"model '{model.name}': its input {shape} leaves the window length open; say --frames")
    if frames is not None and own_frames not in (None, frames):
        raise ModelError(f"model '{model.name}': its windows have {own_frames} frames, not {frames}; drop --frames")
    per_frame, head = _split(in_order(model))
    return Chain(model, own_frames or frames or 0, height, width, per_frame, head)


def in_order(model: keras.Model) -> list[keras.Layer]:
    """The layers of a sequential or chain-like functional model, those of nested models in their place.

    Raises ModelError where the layers do not follow one another in a single line.
    """
    if isinstance(model, keras.Sequential):
        flat = [layer for layer in model.layers if not isinstance(layer, layers.InputLayer)]
    elif isinstance(model, keras.Model) and hasattr(model, "operations"):
        flat = _functional(model)
    else:
        raise ModelError(f"model '{model.name}' ({type(model).__name__}) is subclassed; make it functional")
    return [inner for layer in flat for inner in (in_order(layer) if isinstance(layer, keras.Model) else [layer])]


def _functional(model: keras.Model) -> list[keras.Layer]:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        counts = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
        raise ModelError(f"model '{model.name}': it has {counts}; supported is one of each: {FORM}")
    found: list[keras.Layer] = []
    start = last = keras.Input(
        model.inputs[0].shape[1:], batch_size=model.inputs[0].shape[0], dtype=model.inputs[0].dtype
    )

    def follow(layer: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal last
        kind = type(layer).__name__
        if not isinstance(layer, keras.Layer):
            raise ModelError(f"operation '{layer.name}' ({kind}) stands between the layers; use a layer for it")
        extra = [*args[1:], *kwargs.values()]
        if not args or args[0] is not last or any(isinstance(value, keras.KerasTensor) for value in extra):
            raise ModelError(f"layer '{layer.name}' ({kind}) leaves the single line of layers; supported is {FORM}")
        found.append(layer)
        last = layer(*args, **kwargs)
        return last

    rebuilt = keras.models.clone_model(
        model, input_tensors=start, clone_function=lambda layer: layer, call_function=follow
    )
    if rebuilt.outputs[0] is not last:
        raise ModelError(f"layer '{found[-1].name}' leads nowhere; supported is {FORM}")
    return found


def _split(chain: Sequence[keras.Layer]) -> tuple[tuple[keras.Layer, ...], tuple[keras.Layer, ...]]:
    distributed = [index for index, layer in enumerate(chain) if isinstance(layer, layers.TimeDistributed)]
    recurrent = [index for index, layer in enumerate(chain) if isinstance(layer, layers.RNN | layers.Bidirectional)]
    first_recurrent = recurrent[0] if recurrent else len(chain)
    before = [index for index in distributed if index < first_recurrent]
    if not before:
        first = chain[0]
        raise ModelError(
            f"layer '{first.name}' ({type(first).__name__}): no TimeDistributed layer treats the frames one by one; "
            f"supported is {FORM}"
        )
    end = before[-1] + 1
    per_frame = []
    for layer in chain[:end]:
        if isinstance(layer, layers.TimeDistributed):
            per_frame.append(layer.layer)
        elif isinstance(layer, FRAME_BY_FRAME):
            per_frame.append(layer)
        else:
            raise ModelError(
                f"layer '{layer.name}' ({type(layer).__name__}) mixes frames before the recurrent layers; "
                "wrap it in TimeDistributed or put it behind them"
            )
    head = list(chain[end:])
    if head and isinstance(head[0], layers.Reshape) and len(head[0].target_shape) == 2:
        # [T,h,w,C] -> [T,h*w*C] is what TimeDistributed(Flatten) does.
        per_frame.append(layers.Flatten(name=head[0].name))
        head = head[1:]
    return tuple(per_frame), tuple(head)
