"""What becomes of the camera's uint8 BGR frames before the network: the modes of keras.applications, as a graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import onnx
import onnx_ir as ir

from whycam_export.convert.graph import GraphBuilder
from whycam_export.errors import ModelError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Preprocessing:
    """(frame - mean) / scale per channel, in the order of the channels given."""

    mode: str
    channels: str
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]

    def apply(self, frames: Array) -> Array:
        """uint8 [...,3] BGR -> f32 [...,3] as the network takes it."""
        ordered = frames if self.channels == "BGR" else frames[..., ::-1]
        scaled: Array = (ordered - np.array(self.mean, np.float32)) / np.array(self.scale, np.float32)
        return scaled

    def apply_back(self, gradient: Array) -> Array:
        """A gradient by what the network takes, f32 [...,3] -> the gradient by the frames, f32 [...,3] BGR."""
        scaled: Array = gradient / np.array(self.scale, np.float32)
        return scaled if self.channels == "BGR" else scaled[..., ::-1]

    def graph(self, height: int, width: int, dtype: ir.DataType = ir.DataType.UINT8) -> onnx.ModelProto:
        """`frames` [N,H,W,3] BGR of `dtype`, 0 to 255 -> `images` f32 [N,3,H,W]."""
        graph = GraphBuilder()
        frames = ir.val("frames", dtype=dtype, shape=ir.Shape(("N", height, width, 3)))
        # Moved as bytes: a quarter of the memory traffic.
        x = graph.op("Transpose", frames, perm=[0, 3, 1, 2])
        if self.channels == "RGB":
            x = graph.op("Gather", x, graph.integers(2, 1, 0), axis=1)
        if dtype != ir.DataType.FLOAT:
            x = graph.op("Cast", x, to=int(ir.DataType.FLOAT))
        if any(self.mean):
            x = graph.op("Sub", x, graph.constant("mean", np.array(self.mean, np.float32).reshape(1, 3, 1, 1)))
        if any(scale != 1 for scale in self.scale):
            x = graph.op("Div", x, graph.constant("scale", np.array(self.scale, np.float32).reshape(1, 3, 1, 1)))
        return graph.build("preprocessing", [frames], {"images": x})


def _scaled(mean: tuple[float, float, float], deviation: tuple[float, float, float]) -> dict[str, Any]:
    return {"mean": tuple(255 * m for m in mean), "scale": tuple(255 * d for d in deviation)}


MODES = {
    "caffe": Preprocessing("caffe", "BGR", (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "torch": Preprocessing("torch", "RGB", **_scaled((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
    "tf": Preprocessing("tf", "RGB", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "none": Preprocessing("none", "RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}

# keras.applications name their models; ResNetV2 must stand before ResNet.
APPLICATIONS = (
    ("resnet50v2", "tf"), ("resnet101v2", "tf"), ("resnet152v2", "tf"),
    ("resnet", "caffe"), ("vgg16", "caffe"), ("vgg19", "caffe"),
    ("mobilenetv3", "none"), ("mobilenet", "tf"), ("xception", "tf"), ("inception", "tf"), ("nasnet", "tf"),
    ("densenet", "torch"), ("efficientnet", "none"), ("convnext", "none"),
)  # fmt: skip


def preprocessing(mode: str, per_frame: Iterable[keras.Layer]) -> Preprocessing:
    """The preprocessing `mode`; `auto` finds out from the per-frame layers.

    Raises ModelError where the mode is not known, or `auto` cannot tell.
    """
    if mode == "auto":
        mode = _detect(list(per_frame))
    if mode not in MODES:
        raise ModelError(f"--preprocess {mode}: unknown; there are auto, {', '.join(MODES)}")
    return MODES[mode]


def _detect(per_frame: list[keras.Layer]) -> str:
    every = [inner for layer in per_frame for inner in _flat(layer)]
    if any(isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization) for layer in every):
        return "none"
    names = [layer.name.lower() for layer in every]
    for prefix, mode in APPLICATIONS:
        if any(name.startswith(prefix) for name in names):
            return mode
    # A VGG whose layers stand in the model one by one; Xception shares their first names, but normalises.
    if {"block1_conv1", "block1_conv2", "block2_conv1"} <= set(names) and "block1_conv1_bn" not in names:
        return "caffe"
    raise ModelError("cannot tell how the model's frames were preprocessed; say --preprocess caffe, torch, tf or none")


def _flat(layer: keras.Layer) -> list[keras.Layer]:
    inner = layer.layers if isinstance(layer, keras.Model) else []
    return [layer, *(deeper for part in inner for deeper in _flat(part))]
