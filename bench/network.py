"""The network that all is measured on: the paper's at full size. With random weights, which cost as much as others.

Its INT8 ranges are those of random frames: what it costs is measured here, not how well it detects.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from whycam.bundle import Bundle

CLASSES = ("fight", "fire", "shooting", "normal")
FRAME_INTERVAL = 0.1
"""Seconds: 10 frames a second."""
CAFFE_MEAN = (103.939, 116.779, 123.68)
"""ImageNet's mean in BGR, which VGG19's input has subtracted."""
PAPER_LAYER = "block5_conv4"
"""Where the paper's Grad-CAM looks."""


@dataclass(frozen=True)
class Shape:
    """The shape of the network."""

    frames: int = 20
    side: int = 112
    """Height and width of a frame, in pixels."""
    units: int = 1024
    """Width of the GRU."""
    dense: tuple[int, ...] = (1024, 512, 128)
    width: float = 1.0
    """Factor on VGG19's channels."""


PAPER = Shape()
SMALL = Shape(frames=6, side=64, units=64, dense=(32,), width=0.125)
"""For a smoke test."""


@dataclass(frozen=True)
class Network:
    """The network as Keras saved it, and as whycam exported it."""

    folder: Path
    shape: Shape
    features: int
    seed: int

    @property
    def model(self) -> Path:
        """As Keras saved it."""
        return self.folder / "paper.keras"

    @property
    def bundle(self) -> Path:
        """With all explanations, maps of whycam's default layer, fp32 and INT8."""
        return self.folder / "paper.whycam"

    @property
    def paper_layer(self) -> Path:
        """With maps of the paper's layer, fp32, and class activation maps alone."""
        return self.folder / "paper-layer.whycam"

    def images(self, count: int, seed: int = 0) -> NDArray[np.uint8]:
        """Random frames, uint8 [count, H, W, 3], always the same for `seed`."""
        side = self.shape.side
        return np.random.default_rng((self.seed, seed)).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def build(folder: Path, shape: Shape, seed: int) -> Network:
    """Build the network in `folder`, export and quantize it."""
    import keras

    from whycam.bundle import Bundle
    from whycam_export.convert.export import ExportOptions, export_bundle
    from whycam_export.training.network import Architecture, paper_network

    keras.utils.set_random_seed(seed)
    architecture = Architecture(
        size=(shape.side, shape.side), frames=shape.frames, units=shape.units, dense=shape.dense, width=shape.width
    )
    network = Network(folder, shape, 0, seed)
    paper_network(len(CLASSES), architecture).save(network.model)
    told = {"classes": CLASSES, "normal": "normal", "frame_interval": FRAME_INTERVAL, "preprocess": "caffe"}
    exported = export_bundle(network.model, network.bundle, ExportOptions(**told))
    export_bundle(
        network.model,
        network.paper_layer,
        ExportOptions(**told, cam_layers=(PAPER_LAYER,), explain="cams"),
    )
    network = Network(folder, shape, exported.features, seed)
    add_int8(Bundle.open(network.bundle), network.images(16, seed=1))
    return network


def add_int8(bundle: Bundle, images: NDArray[np.uint8]) -> None:
    """Give `bundle` an INT8 extractor, for the CPU and portable, with the ranges of `images`, and an INT8 step."""
    from whycam.bundle import revise
    from whycam_calibration.precision.int8 import CPU, PORTABLE, quantize, quantized_values
    from whycam_calibration.precision.network import read_network
    from whycam_calibration.precision.ranges import collect_ranges
    from whycam_calibration.precision.step import quantize_step

    plain = read_network(bundle)
    ranges = collect_ranges(plain, images, "minmax", lambda *_: None, values=quantized_values(plain))
    files = {form.precision: f"features.{form.precision}.onnx" for form in (CPU, PORTABLE)}
    written = {files[form.precision]: quantize(plain, ranges, form) for form in (CPU, PORTABLE)}
    steps = {CPU.precision: f"step.{CPU.precision}.onnx"}
    written |= dict.fromkeys(steps.values(), quantize_step(bundle))
    revise(bundle, written, precisions={**bundle.manifest.precisions, **files}, steps=steps)


def add_fp16(bundle: Bundle, images: NDArray[np.uint8]) -> None:
    """Give `bundle` an extractor in half precision; what half precision does not hold on `images` stays in float32."""
    from whycam.bundle import revise
    from whycam_calibration.precision.fp16 import halve, unsafe_nodes
    from whycam_calibration.precision.network import read_network
    from whycam_calibration.precision.ranges import collect_ranges

    plain = read_network(bundle)
    ranges = collect_ranges(plain, images, "minmax", lambda *_: None)
    content = halve(plain, unsafe_nodes(plain, ranges))
    file = "features.fp16.onnx"
    revise(bundle, {file: content}, precisions={**bundle.manifest.precisions, "fp16": file})


def preprocess(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Frames uint8 [..., 3] BGR as Keras's network takes them, without what `whycam_export` would import."""
    return frames.astype(np.float32) - np.asarray(CAFFE_MEAN, dtype=np.float32)
