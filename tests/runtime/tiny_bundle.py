"""A bundle small enough to check by hand: what it says of colours can be computed in a few lines of numpy.

maps = colours averaged over 2 x 2 pixels, features = maps squared and averaged over the picture; the head is a
linear recurrence s = DECAY * s + features, logits = WEIGHTS @ s. Green is a fight, red a fire, the rest normal.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from whycam.bundle import Manifest, file_entry, write_manifest

CLASSES = ("normal", "fight", "fire")
T, SIZE, INTERVAL, MAX_GAP = 4, 8, 0.1, 0.5
C, MAP = 3, 4
DECAY = 0.5
WEIGHTS = np.array([[4, 0, 0], [-1, 9, -6], [-1, -6, 9]], dtype=np.float32)

BLIND = np.array([[4, 4, 0], [-1, -6, -6], [-1, -6, 9]], dtype=np.float32)
"""A head that takes a fight for normal."""

FREE = "N"


@dataclass(frozen=True)
class Expected:
    """What the graphs should give for a window of frames uint8 [T, SIZE, SIZE, 3], in numpy."""

    frames: np.ndarray
    weights: np.ndarray = field(default_factory=lambda: WEIGHTS)

    @property
    def maps(self) -> np.ndarray:
        colours = self.frames.astype(np.float32).transpose(0, 3, 1, 2) / 255
        return colours.reshape(-1, C, MAP, 2, MAP, 2).mean(axis=(3, 5))

    @property
    def features(self) -> np.ndarray:
        return (self.maps**2).mean(axis=(2, 3))

    @property
    def decay(self) -> np.ndarray:
        return DECAY ** np.arange(T - 1, -1, -1, dtype=np.float32)

    @property
    def scores(self) -> np.ndarray:
        logits = self.weights @ (self.decay[:, None] * self.features).sum(axis=0)
        powers = np.exp(logits - logits.max())
        return powers / powers.sum()

    def feature_gradient(self, target: np.ndarray) -> np.ndarray:
        return self.decay[:, None] * (target @ self.weights)

    def map_gradient(self, target: np.ndarray) -> np.ndarray:
        return 2 * self.maps * self.feature_gradient(target)[:, :, None, None] / MAP**2

    def pixel_gradient(self, target: np.ndarray) -> np.ndarray:
        spread = self.map_gradient(target).repeat(2, axis=2).repeat(2, axis=3) / (4 * 255)
        return spread.transpose(0, 2, 3, 1)

    def feature_excitation(self, target: np.ndarray) -> np.ndarray:
        excitation = np.maximum(self.features * self.feature_gradient(target), 0)
        return excitation / excitation.sum()

    def map_excitation(self, features: np.ndarray) -> np.ndarray:
        squares = self.maps**2
        return features[:, :, None, None] * squares / squares.sum(axis=(2, 3), keepdims=True)

    def logit(self, features: np.ndarray, target: np.ndarray) -> float:
        return float(target @ self.weights @ (self.decay[:, None] * features).sum(axis=0))


def build(directory: Path, *, step: bool = True, explain: str = "all") -> Path:
    """Write the bundle into `directory`, with or without a step graph, with all explanations' graphs or the `cams`'."""
    directory.mkdir(parents=True)
    graphs = {
        "features.onnx": _features(),
        "head.onnx": _head(),
        "head_vjp.onnx": _head_vjp(),
        "maps_vjp.onnx": _maps_vjp(),
    }
    if explain == "all":
        graphs |= {
            "upper.onnx": _upper(),
            "pixels_vjp.onnx": _pixels(guided=False),
            "pixels_guided.onnx": _pixels(guided=True),
            "head_excitation.onnx": _head_excitation(),
            "maps_excitation.onnx": _maps_excitation(),
        }
    if step:
        graphs["step.onnx"] = _step()
    for name, model in graphs.items():
        onnx.checker.check_model(model)
        onnx.save(model, directory / name)
    (directory / "golden.npz").write_bytes(golden())
    write_manifest(directory, _manifest(directory, [*graphs, "golden.npz"], step))
    return directory


def golden_frames() -> np.ndarray:
    """A window uint8 [T, SIZE, SIZE, 3] that is a fight, on one side of the picture more than on the other."""
    frames = np.random.default_rng(1).integers(0, 120, (T, SIZE, SIZE, 3), dtype=np.uint8)
    frames[:, :, : SIZE // 2, 1] += 100
    return frames


def golden(weights: np.ndarray = WEIGHTS) -> bytes:
    """`golden.npz` as export writes it: what numpy makes of the golden window, with Grad-CAM of the label's logit."""
    expected = Expected(golden_frames(), weights)
    best = int(expected.scores.argmax())
    gradient = expected.map_gradient(np.eye(len(CLASSES), dtype=np.float32)[best])
    weighed = (gradient.mean(axis=(2, 3), keepdims=True) * expected.maps).sum(axis=1)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        frames=expected.frames,
        scores=expected.scores.astype(np.float32),
        heatmaps=np.maximum(weighed, 0).astype(np.float32),
        label=np.array(CLASSES[best]),
    )
    return buffer.getvalue()


def seal(directory: Path) -> None:
    """Write the manifest anew, so that its hashes are those of the files as they are now."""
    manifest = Manifest.model_validate_json((directory / "manifest.json").read_text())
    files = {name: file_entry(directory / name) for name in manifest.files}
    write_manifest(directory, manifest.model_copy(update={"files": files}))


def reweigh(directory: Path, weights: np.ndarray, version: str = "2") -> Path:
    """Give the bundle in `directory` a head of other `weights`, [classes, colours], and another version."""
    for name in ("head", "step", "head_vjp", "head_excitation"):
        path = directory / f"{name}.onnx"
        if path.exists():
            model = onnx.load(path)
            for constant in model.graph.initializer:
                if constant.name in ("weights", "backwards"):
                    held = weights.T.copy() if constant.name == "weights" else weights
                    constant.CopyFrom(numpy_helper.from_array(held, constant.name))
            onnx.save(model, path)
    (directory / "golden.npz").write_bytes(golden(weights))
    return change(directory, version=version)


def retouch(directory: Path) -> Path:
    """Give the bundle in `directory` a feature extractor that computes the same and is another file."""
    model = onnx.load(directory / "features.onnx")
    model.doc_string = "another"
    onnx.save(model, directory / "features.onnx")
    return change(directory)


def enlarge(directory: Path) -> Path:
    """Give the bundle in `directory`, built for the `cams` alone, an input of twice the size, averaged first."""
    path = directory / "features.onnx"
    model = onnx.load(path)
    for dimension in model.graph.input[0].type.tensor_type.shape.dim[1:3]:
        dimension.dim_value = 2 * SIZE
    place = next(index for index, node in enumerate(model.graph.node) if node.op_type == "AveragePool")
    model.graph.node[place].input[0] = "smaller"
    smaller = helper.make_node("AveragePool", ["planes"], ["smaller"], kernel_shape=[2, 2], strides=[2, 2])
    model.graph.node.insert(place, smaller)
    onnx.save(model, path)
    return change(directory, input={"height": 2 * SIZE, "width": 2 * SIZE})


def change(directory: Path, **keys: object) -> Path:
    """Change `keys` of the manifest, and seal the bundle."""
    manifest = Manifest.model_validate_json((directory / "manifest.json").read_text())
    write_manifest(directory, Manifest.model_validate({**manifest.model_dump(by_alias=True), **keys}))
    seal(directory)
    return directory


def _manifest(directory: Path, files: list[str], step: bool) -> Manifest:
    return Manifest.model_validate(
        {
            "schema": "whycam.bundle/1",
            "name": "colours",
            "version": "1",
            "classes": CLASSES,
            "normal": "normal",
            "window": {"frames": T, "frame_interval": INTERVAL, "max_gap": MAX_GAP},
            "input": {"height": SIZE, "width": SIZE},
            "features": C,
            "cams": [{"name": "squares", "channels": C, "height": MAP, "width": MAP}],
            "step": {"available": True, "states": [{"name": "sums", "shape": (T - 1, C)}]}
            if step
            else {"available": False, "reason": "the test wants the head"},
            "thresholds": {"fight": 0.7, "fire": 0.7},
            "precisions": {"fp32": "features.onnx"},
            "parity": {"frames": 0, "features": 0, "scores": 0, "heatmaps": 0},
            "provenance": {},
            "files": {name: file_entry(directory / name).model_dump() for name in files},
        }
    )


def _value(name: str, shape: list, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _constants(**arrays: object) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()]


def _model(nodes: list, inputs: list, outputs: list, constants: list) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _features() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["frames"], ["bytes"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["bytes", "white"], ["shares"]),
        helper.make_node("Transpose", ["shares"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["maps"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Mul", ["maps", "maps"], ["squares"]),
        helper.make_node("ReduceMean", ["squares", "places"], ["features"], keepdims=0),
    ]
    return _model(
        nodes,
        [_value("frames", [FREE, SIZE, SIZE, 3], TensorProto.UINT8)],
        [_value("features", [FREE, C]), _value("maps", [FREE, C, MAP, MAP])],
        _constants(white=np.float32(255), places=np.array([2, 3])),
    )


def _scored(sums: str) -> list:
    return [
        helper.make_node("MatMul", [sums, "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
    ]


def _decay() -> np.ndarray:
    return (DECAY ** np.arange(T - 1, -1, -1)).astype(np.float32)[:, None]


def _head() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Mul", ["window", "decay"], ["faded"]),
        helper.make_node("ReduceSum", ["faded", "time"], ["sums"], keepdims=0),
        *_scored("sums"),
    ]
    return _model(
        nodes,
        [_value("window", [FREE, T, C])],
        [_value("logits", [FREE, len(CLASSES)]), _value("scores", [FREE, len(CLASSES)])],
        _constants(weights=WEIGHTS.T.copy(), decay=_decay(), time=np.array([1])),
    )


def _step() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Unsqueeze", ["features", "one"], ["entering"]),
        helper.make_node("Pad", ["sums", "entrance"], ["before"]),
        helper.make_node("Mul", ["before", "fade"], ["faded"]),
        helper.make_node("Add", ["faded", "entering"], ["after"]),
        helper.make_node("Slice", ["after", "zero", "last", "one"], ["sums_next"]),
        helper.make_node("Slice", ["after", "last", "end", "one"], ["leaving"]),
        helper.make_node("Squeeze", ["leaving", "one"], ["finished"]),
        *_scored("finished"),
    ]
    return _model(
        nodes,
        [_value("features", [FREE, C]), _value("sums", [FREE, T - 1, C])],
        [
            _value("logits", [FREE, len(CLASSES)]),
            _value("scores", [FREE, len(CLASSES)]),
            _value("sums_next", [FREE, T - 1, C]),
        ],
        _constants(
            weights=WEIGHTS.T.copy(),
            fade=np.float32(DECAY),
            entrance=np.array([0, 1, 0, 0, 0, 0]),
            zero=np.array([0]),
            one=np.array([1]),
            last=np.array([T - 1]),
            end=np.array([T]),
        ),
    )


def _head_vjp() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Mul", ["window", "decay"], ["faded"]),
        helper.make_node("ReduceSum", ["faded", "time"], ["sums"], keepdims=0),
        helper.make_node("MatMul", ["sums", "weights"], ["logits"]),
        helper.make_node("MatMul", ["target", "backwards"], ["direction"]),
        helper.make_node("Mul", ["decay", "direction"], ["feature_gradient"]),
    ]
    return _model(
        nodes,
        [_value("window", [T, C]), _value("target", [len(CLASSES)])],
        [_value("logits", [len(CLASSES)]), _value("feature_gradient", [T, C])],
        _constants(weights=WEIGHTS.T.copy(), backwards=WEIGHTS, decay=_decay(), time=np.array([0])),
    )


def _maps_vjp() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Unsqueeze", ["feature_gradient", "places"], ["spread"]),
        helper.make_node("Mul", ["maps", "spread"], ["product"]),
        helper.make_node("Mul", ["product", "slope"], ["map_gradient"]),
    ]
    return _model(
        nodes,
        [_value("maps", [FREE, C, MAP, MAP]), _value("feature_gradient", [FREE, C])],
        [_value("map_gradient", [FREE, C, MAP, MAP])],
        _constants(places=np.array([2, 3]), slope=np.float32(2 / MAP**2)),
    )


def _upper() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Mul", ["maps", "maps"], ["squares"]),
        helper.make_node("ReduceMean", ["squares", "places"], ["features"], keepdims=0),
    ]
    inputs, outputs = [_value("maps", [FREE, C, MAP, MAP])], [_value("features", [FREE, C])]
    return _model(nodes, inputs, outputs, _constants(places=np.array([2, 3])))


def _pixels(*, guided: bool) -> onnx.ModelProto:
    """The true gradient; the guided one is its positive part, so that a test can tell them apart."""
    nodes = [
        helper.make_node("Cast", ["frames"], ["bytes"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["bytes", "white"], ["shares"]),
        helper.make_node("Transpose", ["shares"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["maps"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Unsqueeze", ["feature_gradient", "places"], ["spread"]),
        helper.make_node("Mul", ["maps", "spread"], ["product"]),
        helper.make_node("Mul", ["product", "slope"], ["coarse"]),
        helper.make_node("Resize", ["coarse", "", "twice"], ["fine"], mode="nearest"),
        helper.make_node("Transpose", ["fine"], ["gradient"], perm=[0, 2, 3, 1]),
        helper.make_node("Relu" if guided else "Identity", ["gradient"], ["pixel_gradient"]),
    ]
    return _model(
        nodes,
        [_value("frames", [FREE, SIZE, SIZE, 3], TensorProto.UINT8), _value("feature_gradient", [FREE, C])],
        [_value("pixel_gradient", [FREE, SIZE, SIZE, 3])],
        _constants(
            white=np.float32(255),
            places=np.array([2, 3]),
            slope=np.float32(2 / MAP**2 / 4 / 255),
            twice=np.array([1, 1, 2, 2], np.float32),
        ),
    )


def _head_excitation() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["target", "backwards"], ["direction"]),
        helper.make_node("Mul", ["decay", "direction"], ["weights"]),
        helper.make_node("Mul", ["window", "weights"], ["contributions"]),
        helper.make_node("Relu", ["contributions"], ["excitation"]),
        helper.make_node("ReduceSum", ["excitation"], ["sum"], keepdims=1),
        helper.make_node("Max", ["sum", "tiny"], ["whole"]),
        helper.make_node("Div", ["excitation", "whole"], ["feature_excitation"]),
    ]
    return _model(
        nodes,
        [_value("window", [T, C]), _value("target", [len(CLASSES)])],
        [_value("feature_excitation", [T, C])],
        _constants(backwards=WEIGHTS, decay=_decay(), tiny=np.float32(1e-12)),
    )


def _maps_excitation() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Mul", ["maps", "maps"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "places"], ["sum"], keepdims=1),
        helper.make_node("Max", ["sum", "tiny"], ["whole"]),
        helper.make_node("Div", ["squares", "whole"], ["shares"]),
        helper.make_node("Unsqueeze", ["feature_excitation", "places"], ["mass"]),
        helper.make_node("Mul", ["shares", "mass"], ["map_excitation"]),
    ]
    return _model(
        nodes,
        [_value("maps", [FREE, C, MAP, MAP]), _value("feature_excitation", [FREE, C])],
        [_value("map_excitation", [FREE, C, MAP, MAP])],
        _constants(places=np.array([2, 3]), tiny=np.float32(1e-12)),
    )
