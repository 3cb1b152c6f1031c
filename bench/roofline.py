"""What a network asks of a GPU, and how fast a Jetson should answer: the reckoning behind `bench.expected`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from bench.jetsons import PUBLISHED, YOLO11X_OPERATIONS, Device, Run
from bench.layers import Graph, Layer, count

COUNTS = Path(__file__).resolve().parent / "expected.json"
GRAPHS = ("features", "step", "head", "head_vjp", "maps_vjp")
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
LAUNCH = 10e-6
"""Seconds that a node costs beside its work, in the slow estimate: an assumption, for ARM cores start its kernel."""
CLASSIFIERS = {"VGG-19": ((25088, 4096), (4096, 4096), (4096, 1000)), "MobileNetV2": ((1280, 1000),)}
"""Dense layers, in and out, that the published runs have and a bundle has not."""

Backbone = Literal["VGG19", "MobileNetV2"]


@dataclass(frozen=True)
class Network:
    """A network of keras.applications on each of 20 frames, the paper's GRU and dense layers behind it."""

    title: str
    backbone: Backbone
    side: int
    """Of a frame, in pixels."""
    pooling: Literal["flatten", "average"]


PAPER = Network("VGG19, 112 px", "VGG19", 112, "flatten")
LARGE = Network("VGG19, 224 px", "VGG19", 224, "average")
LIGHT = Network("MobileNetV2, 224 px", "MobileNetV2", 224, "average")
NETWORKS = (PAPER, LARGE, LIGHT)
RUN = {"VGG-19": LARGE, "MobileNetV2": LIGHT}
"""The published networks whose CNN was counted."""


@dataclass(frozen=True)
class Counts:
    """What was counted of one network."""

    frames: int
    features: int
    cam_layer: str
    maps: tuple[int, int, int]
    """Channels, height and width of a frame's maps at the CAM layer."""
    graphs: Mapping[str, Graph]
    """By name, for one frame; head_vjp for one window."""


def counted(network: Network) -> Counts:
    """Build the graphs of a bundle of `network`, with random weights, and count their layers."""
    import keras

    from whycam_export.convert.chain import cut
    from whycam_export.convert.extractor import build_extractor
    from whycam_export.convert.graphs import build_graphs
    from whycam_export.convert.head import read_head
    from whycam_export.convert.preprocessing import preprocessing
    from whycam_export.training.network import Architecture, paper_network

    backbone = getattr(keras.applications, network.backbone)(
        include_top=False, weights=None, input_shape=(network.side, network.side, 3)
    )
    architecture = Architecture(size=(network.side, network.side), pooling=network.pooling)
    chain = cut(paper_network(4, architecture, backbone))
    extractor = build_extractor(chain)
    head = read_head(chain.head, chain.frames, extractor.features)
    prepare = preprocessing("caffe" if network.backbone == "VGG19" else "tf", chain.per_frame)
    models = build_graphs(chain, extractor, head, prepare, print, "cams").models
    return Counts(
        chain.frames,
        extractor.features,
        extractor.cam_layers[0],
        extractor.map_shapes[0],
        {name: count(models[f"{name}.onnx"]) for name in GRAPHS},
    )


@cache
def counts() -> Mapping[str, Counts]:
    """What expected.json holds, by the network's title."""
    found = json.loads(COUNTS.read_text(encoding="utf-8"))
    return {
        title: Counts(
            each["frames"],
            each["features"],
            each["cam_layer"],
            tuple(each["maps"]),
            {
                name: Graph(graph["nodes"], graph["parameters"], tuple(Layer(**layer) for layer in graph["layers"]))
                for name, graph in each["graphs"].items()
            },
        )
        for title, each in found.items()
    }


def seconds_at_roof(layers: Iterable[Layer], device: Device, precision: str, batch: int = 1) -> float:
    """Seconds of `layers` for `batch` frames where arithmetic or memory is at its published peak in each layer.

    Weights are read, and activations read and written, once; what stands between the layers is taken to be fused.
    """
    return sum(
        max(
            2 * layer.products * batch / device.peak[precision],
            BYTES[precision] * (layer.weights + layer.activations * batch) / device.bandwidth,
        )
        for layer in layers
    )


def rate_at_roof(run: Run) -> float:
    """Pictures per second of a published run's network at the roof; of YOLO11x, which was not counted, at the peak."""
    if run.network not in RUN:
        return run.device.peak[run.precision] / YOLO11X_OPERATIONS
    classifier = [
        Layer("Gemm", rows * columns, rows * columns, rows + columns) for rows, columns in CLASSIFIERS[run.network]
    ]
    cnn = counts()[RUN[run.network].title].graphs["features"].layers
    return 1 / seconds_at_roof((*cnn, *classifier), run.device, run.precision)


def share(run: Run) -> float:
    """The part of the roof's rate that a published run reached."""
    return run.rate / rate_at_roof(run)


def shares(light: bool, device: Device, precision: str) -> tuple[float, float]:
    """The least and greatest part of the roof's rate to expect.

    Of `light` networks, whose convolutions are depthwise: what MobileNetV2 reached. Of the others, at least what was
    reached by this generation in this precision, and at most what VGG-19 reached on it, or on Volta where no run of
    VGG-19 is published.
    """
    if light:
        reached = [share(run) for run in PUBLISHED if run.network == "MobileNetV2"]
        return min(reached), max(reached)
    runs = [run for run in PUBLISHED if run.network != "MobileNetV2"]
    own = [run for run in runs if run.device.generation == device.generation]
    vgg = [run for run in own if run.network == "VGG-19"]
    vgg = vgg or [run for run in runs if run.device.generation == "Volta"]
    return min(share(run) for run in own if run.precision == precision), max(share(run) for run in vgg)


@dataclass(frozen=True)
class Rate:
    """Times per second."""

    least: float
    most: float


def rates(network: Network, device: Device, precision: str) -> dict[str, Rate]:
    """Estimates of frames, decisions and Grad-CAMs per second, the CNN in `precision` and the rest in fp16."""
    found = counts()[network.title]
    light = network.backbone == "MobileNetV2"

    def seconds(name: str, precision: str = "fp16", batch: int = 1) -> tuple[float, float]:
        graph = found.graphs[name]
        roof = seconds_at_roof(graph.layers, device, precision, batch)
        # The head's layers are matrix products, whatever the CNN is.
        least, most = shares(light and name in ("features", "maps_vjp"), device, precision)
        return roof / most, roof / least + graph.nodes * LAUNCH

    cnn, head = seconds("features", precision), seconds("head_vjp")
    parts = {
        "frames": (cnn,),
        "decisions": (cnn, seconds("step")),
        "newest": (head, seconds("maps_vjp")),
        "window": (head, seconds("maps_vjp", batch=found.frames)),
    }
    return {
        name: Rate(1 / sum(slow for _, slow in each), 1 / sum(fast for fast, _ in each)) for name, each in parts.items()
    }


def memory(network: Network, precision: str) -> tuple[int, int]:
    """Bytes of weights, window and the largest layer: to watch, and what explaining a window takes besides."""
    found = counts()[network.title]
    features, step, head, back = (found.graphs[name] for name in ("features", "step", "head_vjp", "maps_vjp"))
    channels, height, width = found.maps
    window = found.frames * (found.features + channels * height * width) * BYTES["fp32"]
    watching = (
        BYTES[precision] * (features.parameters + max(layer.activations for layer in features.layers))
        + BYTES["fp16"] * step.parameters
        + window
    )
    largest = found.frames * max(layer.activations for layer in back.layers)
    return watching, BYTES["fp16"] * (head.parameters + back.parameters + largest)
