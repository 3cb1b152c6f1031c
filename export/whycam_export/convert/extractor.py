"""The per-frame network as a Keras model of its own, cut at the layer whose maps the explanations weigh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from whycam_export.attention import SpatialAttention, SpatialWeights
from whycam_export.convert.chain import Chain
from whycam_export.errors import ModelError

layers = keras.layers
DEFAULT_PART = 1 / 8
"""Maps of an eighth of the frame's height point best on average; the last ones, of 1/16 or 1/32, hardly at all: see
docs/explanation/explanations.md."""
CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Conv2DTranspose)


@dataclass(frozen=True)
class Extractor:
    """images -> maps -> features."""

    lower: keras.Model
    """images f32 [N,H,W,3] -> maps [N,h,w,C] of the first CAM layer"""
    upper: keras.Model
    """those maps -> maps of the other CAM layers, features [N,F]"""
    cam_layers: tuple[str, ...]
    """In the order of the network."""
    note: str | None
    """Why the maps are not the last convolution's, where they are not."""
    attention: keras.Model | None = None
    """those maps -> the weights [N,h',w'] that attention gives the places of a frame; None without attention."""

    @property
    def features(self) -> int:
        """F."""
        return int(self.upper.outputs[-1].shape[-1])

    @property
    def map_shapes(self) -> list[tuple[int, int, int]]:
        """(C, h, w) of each CAM layer's maps."""
        tensors = [self.lower.outputs[0], *self.upper.outputs[:-1]]
        return [(int(tensor.shape[3]), int(tensor.shape[1]), int(tensor.shape[2])) for tensor in tensors]


def build_extractor(chain: Chain, cam_layers: Sequence[str] = ()) -> Extractor:
    """Rebuild the per-frame layers of `chain` as one network, and cut it at the first of `cam_layers`.

    Without `cam_layers` it is the last convolution whose maps are at least `DEFAULT_PART` of the frame's height; where
    features depend on the frame by a way around that one (a skip connection), the next layer that all ways pass.

    Raises ModelError where the network does not end in a vector, or there is no such layer to cut at.
    """
    image, features, called = _network(chain)
    pictures = _pictures(called)
    names = [layer.name for layer, _ in pictures]
    starts = sorted({_find(name, pictures) for name in cam_layers}) or [_last_convolution(pictures, chain.height)]
    rest = [tensor for _, tensor in (pictures[index] for index in starts[1:])]
    for layer, maps in pictures[starts[0] :]:
        upper = _between(maps, [*rest, features])
        if upper is None:
            continue
        if layer.name != names[starts[0]] and cam_layers:
            raise ModelError(
                f"--cam-layer {names[starts[0]]}: the features also come by a way around it; the next layer that all "
                f"pass is {layer.name}"
            )
        note = (
            None
            if layer.name == names[starts[0]]
            else f"{names[starts[0]]} is the last convolution with maps of that size, but has a way around it"
        )
        others = [names[index] for index in starts[1:]]
        weights = next((tensor for layer, tensor in called if isinstance(layer, SpatialWeights)), None)
        attention = None if weights is None else _between(maps, [weights])
        return Extractor(keras.Model(image, maps), upper, (layer.name, *others), note, attention)
    raise ModelError(
        f"layer '{names[starts[0]]}': no layer behind it lies on all ways to the features; say --cam-layer"
    )


def stage_layers(chain: Chain) -> list[str]:
    """The layers at which `--cam-layer auto` looks: for each size of the maps the last one that all ways pass."""
    found = {height: name for name, height in _passed(chain)}
    # Maps as large as the frame are pixels again, and their gradient costs as much as the whole CNN's.
    sizes = [size for size in found if 4 <= size <= chain.height // 2]
    return [found[size] for size in sorted(sizes, reverse=True)]


def last_layer(chain: Chain) -> str | None:
    """The last convolution, or what stands for one, that all ways pass: where Grad-CAM was meant to look."""
    return next((name for name, _ in reversed(_passed(chain))), None)


def _passed(chain: Chain) -> list[tuple[str, int]]:
    """The layers that all ways pass and that could explain, in the order of the network, with their maps' height."""
    _, features, called = _network(chain)
    kinds = (*CONVOLUTIONS, layers.Add, layers.Activation, layers.ReLU)
    return [
        (layer.name, int(maps.shape[1]))
        for layer, maps in _pictures(called)
        if isinstance(layer, kinds) and _between(maps, [features])
    ]


def _network(chain: Chain) -> tuple[Any, Any, list[tuple[keras.Layer, Any]]]:
    """The image, the features, and each layer with what it gives."""
    image = keras.Input((chain.height, chain.width, 3), name="image")
    called: list[tuple[keras.Layer, Any]] = []
    features = _inline(chain.per_frame, image, called)
    if len(features.shape) != 2 or features.shape[-1] is None:
        last = chain.per_frame[-1]
        raise ModelError(
            f"layer '{last.name}': the per-frame network ends in shape {tuple(features.shape[1:])}, not in a vector; "
            "put TimeDistributed(Flatten()) or TimeDistributed(GlobalAveragePooling2D()) behind it"
        )
    return image, features, called


def _pictures(called: Sequence[tuple[keras.Layer, Any]]) -> list[tuple[keras.Layer, Any]]:
    """The layers that give maps [N,h,w,C], with them."""
    return [(layer, tensor) for layer, tensor in called if len(tensor.shape) == 4]


def _find(name: str, pictures: Sequence[tuple[keras.Layer, Any]]) -> int:
    places = [index for index, (layer, _) in enumerate(pictures) if layer.name == name]
    if not places:
        offered = ", ".join(layer.name for layer, _ in pictures if isinstance(layer, CONVOLUTIONS))
        raise ModelError(f"--cam-layer {name}: no such layer with maps; the convolutions are {offered}")
    return places[-1]


def _last_convolution(pictures: Sequence[tuple[keras.Layer, Any]], height: int) -> int:
    places = [index for index, (layer, _) in enumerate(pictures) if isinstance(layer, CONVOLUTIONS)]
    if not places:
        raise ModelError("the per-frame network has no convolution to explain by; say --cam-layer")
    fine = [index for index in places if int(pictures[index][1].shape[1]) >= height * DEFAULT_PART]
    return fine[-1] if fine else places[-1]


def _between(maps: Any, outputs: Sequence[Any]) -> keras.Model | None:
    try:
        return keras.Model(maps, list(outputs))
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
        if isinstance(layer, SpatialAttention):
            weights = SpatialWeights(layer)
            called.append((weights, weights(args[0])))
        return result

    for layer in chain:
        if not isinstance(layer, layers.InputLayer):
            x = call(layer, x)
    return x
