"""Bundles like the network's, but of another window length, GRU width, picture size or pooling, without an export.

VGG19's convolutions fit any picture, so the extractor stays as it is but for the sizes written into it; heads are
written anew with random weights, by whycam's own export. They score and do not explain.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.network import CLASSES, Network, Shape

if TYPE_CHECKING:
    import onnx

    from whycam.bundle.manifest import StateTensor

Pooling = Literal["flatten", "average"]
EXTRACTORS = {"fp32": "features.onnx", "int8-cpu": "features.int8-cpu.onnx"}


def variant(network: Network, name: str, pooling: Pooling = "flatten", **changes: int) -> Path:
    """The bundle `name` beside the network's, its shape changed by `frames`, `side` or `units`."""
    import onnx

    from whycam.bundle import Bundle, Manifest, file_entry, revise, write_manifest
    from whycam.bundle.manifest import FrameSize, Step, Window
    from whycam.detect.sampling import longest_gap
    from whycam_calibration.precision.step import quantize_step

    shape = replace(network.shape, **changes)
    base = Bundle.open(network.bundle)
    before = base.manifest
    path = network.folder / f"{name}.whycam"
    path.mkdir()
    channels = onnx_channels(network)
    features = channels * (shape.side // 32) ** 2 if pooling == "flatten" else channels
    for file in EXTRACTORS.values():
        if shape.side == network.shape.side and pooling == "flatten":
            (path / file).hardlink_to(base.path / file)
        else:
            onnx.save(_reshaped(onnx.load(base.path / file), shape.side, features, pooling), path / file)
    states = write_head(path, shape, features)
    scale = shape.side / network.shape.side
    write_manifest(
        path,
        Manifest.model_validate(
            {
                **dict(before),
                "name": name,
                "window": Window(
                    frames=shape.frames,
                    frame_interval=before.window.frame_interval,
                    max_gap=longest_gap(shape.frames, before.window.frame_interval),
                ),
                "input": FrameSize(height=shape.side, width=shape.side),
                "features": features,
                "cams": [
                    cam.model_copy(update={"height": round(cam.height * scale), "width": round(cam.width * scale)})
                    for cam in before.cams
                ],
                "step": Step(available=True, states=tuple(states), reason=None),
                "precisions": EXTRACTORS,
                "steps": {},
                "files": {each.name: file_entry(each) for each in sorted(path.iterdir())},
            }
        ),
    )
    bundle = Bundle.open(path)
    steps = {"int8-cpu": "step.int8-cpu.onnx"}
    revise(bundle, dict.fromkeys(steps.values(), quantize_step(bundle)), steps=steps)
    return path


def onnx_channels(network: Network) -> int:
    """Channels of the last convolution."""
    return network.features // (network.shape.side // 32) ** 2


def write_head(path: Path, shape: Shape, features: int) -> list[StateTensor]:
    """Write the window and step graphs of a head with random weights into `path`; the step's states."""
    import keras
    import onnx

    from whycam_export.convert.head import read_head, step_graph, window_graph
    from whycam_export.training.network import Architecture, head_layers

    layers = head_layers(len(CLASSES), Architecture(frames=shape.frames, units=shape.units, dense=shape.dense))
    values = keras.Input((shape.frames, features))
    for layer in layers:
        values = layer(values)
    head = read_head(layers, shape.frames, features)
    step, states = step_graph(head)
    onnx.save(step, path / "step.onnx")
    onnx.save(window_graph(head), path / "head.onnx")
    return states


def _reshaped(model: onnx.ModelProto, side: int, features: int, pooling: Pooling) -> onnx.ModelProto:
    """The extractor for pictures of another side, its features flattened or averaged over the picture."""
    import numpy as np
    from onnx import numpy_helper

    graph = model.graph
    for dimension in graph.input[0].type.tensor_type.shape.dim[1:3]:
        dimension.dim_value = side
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    (flatten,) = (node for node in graph.node if node.op_type == "Reshape")
    for initializer in graph.initializer:
        if initializer.name == flatten.input[1]:
            initializer.CopyFrom(numpy_helper.from_array(np.array([-1, features]), initializer.name))
    if pooling == "average":
        (channels_last,) = (node for node in graph.node if flatten.input[0] in node.output)
        assert channels_last.op_type == "Transpose"
        channels_last.op_type = "GlobalAveragePool"
        del channels_last.attribute[:]
    return model
