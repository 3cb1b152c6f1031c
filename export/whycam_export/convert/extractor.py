"""The per-frame network as a Keras model of its own, cut at the layer whose maps the explanations weigh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from whycam_export.convert.chain import Chain
from whycam_export.errors import ModelError

layers = keras.layers
CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Conv2DTranspose)


@dataclass(frozen=True)
class Extractor:
    """images -> maps -> features."""

    lower: keras.Model
    """images f32 [N,H,W,3] -> maps [N,h,w,C]"""
    upper: keras.Model
    """maps [N,h,w,C] -> features [N,F]"""
    cam_layer: str
    note: str | None
    """Why the maps are not the last convolution's, where they are not."""

    @property
    def features(self) -> int:
        """F."""
        return int(self.upper.output_shape[-1])

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of the maps."""
        _, height, width, channels = self.lower.output_shape
        return int(channels), int(height), int(width)


def build_extractor(chain: Chain, cam_layer: str | None = None) -> Extractor:
    """Rebuild the per-frame layers of `chain` as one network, and cut it at `cam_layer`.

    Without `cam_layer` it is the last convolution; where features depend on the frame by a way around that one (a skip
    connection), the next layer that all ways pass.

    Raises ModelError where the network does not end in a vector, or there is no such layer to cut at.
    """
    image = keras.Input((chain.height, chain.width, 3), name="image")
    called: list[tuple[keras.Layer, Any]] = []
    features = _inline(chain.per_frame, image, called)
    if len(features.shape) != 2 or features.shape[-1] is None:
        last = chain.per_frame[-1]
        raise ModelError(
            f"layer '{last.name}': the per-frame network ends in shape {tuple(features.shape[1:])}, not in a vector; "
            "put TimeDistributed(Flatten()) or TimeDistributed(GlobalAveragePooling2D()) behind it"
        )
    pictures = [(layer, tensor) for layer, tensor in called if len(tensor.shape) == 4]
    names = [layer.name for layer, _ in pictures]
    if cam_layer is None:
        convolutions = [index for index, (layer, _) in enumerate(pictures) if isinstance(layer, CONVOLUTIONS)]
        if not convolutions:
            raise ModelError("the per-frame network has no convolution to explain by; say --cam-layer")
        start = convolutions[-1]
    elif cam_layer in names:
        start = len(names) - 1 - names[::-1].index(cam_layer)
    else:
        offered = ", ".join(layer.name for layer, _ in pictures if isinstance(layer, CONVOLUTIONS))
        raise ModelError(f"--cam-layer {cam_layer}: no such layer with maps; the convolutions are {offered}")

    for layer, maps in pictures[start:]:
        upper = _between(maps, features)
        if upper is None:
            continue
        if layer.name != names[start] and cam_layer is not None:
            raise ModelError(
                f"--cam-layer {cam_layer}: the features also come by a way around it; the next layer that all pass "
                f"is {layer.name}"
            )
        note = (
            None if layer.name == names[start] else f"{names[start]} is the last convolution, but has a way around it"
        )
        return Extractor(keras.Model(image, maps), upper, layer.name, note)
    raise ModelError(f"layer '{names[start]}': no layer behind it lies on all ways to the features; say --cam-layer")


def _between(maps: Any, features: Any) -> keras.Model | None:
    try:
        return keras.Model(maps, features)
    except ValueError:  # Keras: the graph is disconnected, something reaches the features around the maps
        return None


def _inline(chain: Sequence[keras.Layer], x: Any, called: list[tuple[keras.Layer, Any]]) -> Any:
    """Call `chain` on `x`, nested models layer by layer, so that the tensors inside them belong to one graph."""

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.Sequential):
            return _inline(layer.layers, args[0], called)
        if isinstance(layer, keras.Model) and hasattr(layer, "operations"):
            same = keras.models.clone_model(
                layer, input_tensors=args[0], clone_function=lambda inner: inner, call_function=call
            )
            return same.outputs[0]
        result = layer(*args, **kwargs)
        called.append((layer, result))
        return result

    for layer in chain:
        if not isinstance(layer, layers.InputLayer):
            x = call(layer, x)
    return x
