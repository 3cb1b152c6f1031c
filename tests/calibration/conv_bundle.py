"""The bundle of `tests/runtime/tiny_bundle`, its maps computed by convolutions, so that there is something to quantize.

stem passes the three colours on, spread adds a fourth channel, gather averages the colours over 2 x 2 pixels and
ignores the fourth channel, whatever it holds: an outlier there changes nothing in float32, and all in eight bits.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.runtime import tiny_bundle
from tests.runtime.tiny_bundle import FREE, MAP, SIZE, C, Expected, T
from whycam.bundle import Bundle, revise

LAYERS = ("stem", "spread", "gather")


def build(directory: Path, *, outlier: float = 1.0, explain: str = "all") -> Path:
    """Write the bundle; `outlier` is what white gives in the fourth channel."""
    tiny_bundle.build(directory, explain=explain)
    graph = network(outlier)
    onnx.checker.check_model(graph)
    bundle = revise(
        Bundle.open(directory), {"features.onnx": graph.SerializeToString(), "golden.npz": golden(textures(0, T))}
    )
    if explain == "none":
        without = [name for name in bundle.manifest.files if "vjp" in name or "excitation" in name or "upper" in name]
        revise(bundle, {}, drop=without)
    return directory


def textures(seed: int, count: int) -> np.ndarray:
    """Frames uint8 [count, SIZE, SIZE, 3] of coloured blocks that brighten in time."""
    random = np.random.default_rng(seed)
    blocks = random.uniform(0, 1, (MAP, MAP, 3)).repeat(2, axis=0).repeat(2, axis=1)
    light = np.linspace(0.3, 1, count)[:, None, None, None]
    return (255 * blocks * light).astype(np.uint8)


def golden(frames: np.ndarray) -> bytes:
    expected = Expected(frames)
    buffer = io.BytesIO()
    heatmaps = np.zeros((T, MAP, MAP), np.float32)
    np.savez(buffer, frames=frames, scores=expected.scores, heatmaps=heatmaps, label=np.array("fight"))
    return buffer.getvalue()


def network(outlier: float = 1.0) -> onnx.ModelProto:
    spread = np.zeros((4, 3, 1, 1), np.float32)
    spread[:3, :, 0, 0] = np.eye(3)
    spread[3, :, 0, 0] = outlier / 3
    gather = np.zeros((3, 4, 2, 2), np.float32)
    for colour in range(3):
        gather[colour, colour] = 0.25
    weights = {
        "white": np.float32(255),
        "places": np.array([2, 3]),
        "lower/model_1/stem_1/kernel": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
        "lower/model_1/spread_1/kernel": spread,
        "lower/model_1/gather_1/kernel": gather,
    }
    nodes = [
        helper.make_node("Cast", ["frames"], ["bytes"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Div", ["bytes", "white"], ["shares"], "scale"),
        helper.make_node("Transpose", ["shares"], ["planes"], "planes", perm=[0, 3, 1, 2]),
        *_layer("stem", "planes", "stemmed"),
        *_layer("spread", "stemmed", "spreaded"),
        *_layer("gather", "spreaded", "maps", strides=[2, 2]),
        helper.make_node("Mul", ["maps", "maps"], ["squares"], "square"),
        helper.make_node("ReduceMean", ["squares", "places"], ["features"], "pool", keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "features",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, [FREE, SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, [FREE, C]),
            helper.make_tensor_value_info("maps", TensorProto.FLOAT, [FREE, C, MAP, MAP]),
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _layer(name: str, given: str, found: str, **attributes: object) -> list[onnx.NodeProto]:
    scope = f"lower/model_1/{name}_1"
    kernel = f"{scope}/kernel"
    return [
        helper.make_node("Conv", [given, kernel], [f"{scope}/sum"], f"{scope}/convolution", **attributes),
        helper.make_node("Relu", [f"{scope}/sum"], [found], f"{scope}/Relu"),
    ]
