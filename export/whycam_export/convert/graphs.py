"""All graphs of a bundle, from the two halves of a Keras model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import onnx
import onnx_ir as ir
from onnx import compose

from whycam.bundle.manifest import StateTensor
from whycam.detect.graphs import numbered
from whycam_export.autodiff import differentiate
from whycam_export.autodiff.simplify import simplify
from whycam_export.convert.chain import Chain
from whycam_export.convert.extractor import Extractor
from whycam_export.convert.graph import rename
from whycam_export.convert.head import Head, attention_graph, excitation_graph, gradient_graph, step_graph, window_graph
from whycam_export.convert.preprocessing import Preprocessing
from whycam_export.convert.tensorflow_onnx import to_onnx
from whycam_export.errors import ModelError

Stage = Callable[[str], None]
"""Called with what is done next, to show it."""
Explain = Literal["all", "cams", "none"]
"""What a bundle explains with: every method, those that weigh maps, or none that needs a gradient."""


@dataclass(frozen=True)
class Graphs:
    """The graphs of a bundle by file name, and the states of the step graph."""

    models: dict[str, onnx.ModelProto]
    states: tuple[StateTensor, ...]


def check_explain(explain: str) -> Explain:
    """`explain`, where it is one of `Explain`; else raises ModelError."""
    if explain not in get_args(Explain):
        raise ModelError(f"--explain {explain}: choose {', '.join(get_args(Explain))}")
    return cast(Explain, explain)


def build_graphs(
    chain: Chain,
    extractor: Extractor,
    head: Head,
    preprocessing: Preprocessing,
    stage: Stage,
    explain: Explain = "all",
) -> Graphs:
    """Write the graphs named in the bundle's description; `stage` hears what is done next."""
    where = extractor.cam_layers[0]
    stage(f"convert the CNN up to {where}")
    lower = to_onnx(extractor.lower, "images", "maps")
    stage(f"convert the CNN above {where}")
    maps = [numbered("maps", index) for index in range(len(extractor.cam_layers))]
    upper = to_onnx(extractor.upper, "maps", *maps[1:], "features")
    models = {
        "features.onnx": _whole(preprocessing.graph(chain.height, chain.width), lower, upper, maps),
        "head.onnx": window_graph(head),
    }
    states: list[StateTensor] = []
    if head.no_step is None:
        stage("write the recurrent head and its sliding window")
        models["step.onnx"], states = step_graph(head)
    if explain != "none":
        stage("differentiate the recurrent head")
        models["head_vjp.onnx"] = gradient_graph(head)
        stage(f"differentiate the CNN above {where}")
        models["maps_vjp.onnx"] = _map_gradient(upper, maps)
    if explain == "all":
        stage("write the graphs of the other explanations")
        models["upper.onnx"] = _only(upper, ["features"], "upper")
        models["head_excitation.onnx"] = excitation_graph(head)
        models["maps_excitation.onnx"] = _map_excitation(upper)
        pixels = _whole(preprocessing.graph(chain.height, chain.width, ir.DataType.FLOAT), lower, upper, [])
        for name, rules in (("pixels_vjp", "gradient"), ("pixels_guided", "guided")):
            stage(f"differentiate the whole CNN ({rules})")
            models[f"{name}.onnx"] = _pixel_gradient(pixels, name, rules)
    if extractor.attention is not None and head.has_attention:
        models["maps_attention.onnx"] = to_onnx(extractor.attention, "maps", "attention")
        models["head_attention.onnx"] = attention_graph(head)
    for model in models.values():
        onnx.checker.check_model(model, full_check=True)
    return Graphs(models, tuple(states))


def _whole(
    preprocessing: onnx.ModelProto, lower: onnx.ModelProto, upper: onnx.ModelProto, maps: Sequence[str]
) -> onnx.ModelProto:
    """`frames` [N,H,W,3] -> `features` f32 [N,F], and each of `maps` f32 [N,C,h,w]."""
    below = compose.merge_models(
        compose.add_prefix(preprocessing, "preprocessing/", rename_inputs=False, rename_outputs=False),
        compose.add_prefix(lower, "lower/", rename_inputs=False, rename_outputs=False),
        io_map=[("images", "images")],
    )
    above = rename(compose.add_prefix(upper, "upper/", rename_inputs=False, rename_outputs=False), {"maps": "maps_in"})
    whole = compose.merge_models(
        below, above, io_map=[("maps", "maps_in")], outputs=["features", *maps], name="features"
    )
    return _simplified(whole)


def _map_gradient(upper: onnx.ModelProto, maps: Sequence[str]) -> onnx.ModelProto:
    """`maps` f32 [N,C,h,w], `feature_gradient` [N,F] -> `map_gradient` f32 [N,C,h,w], and so for each CAM layer."""
    found = [numbered("map_gradient", index) for index in range(len(maps))]
    return _gradient(
        differentiate(upper, ["features"], maps),
        "maps_vjp",
        {"grad_features": "feature_gradient", **{f"grad_{name}": to for name, to in zip(maps, found, strict=True)}},
        found,
    )


def _map_excitation(upper: onnx.ModelProto) -> onnx.ModelProto:
    """`maps` f32 [N,C,h,w], `feature_excitation` [N,F] -> `map_excitation` f32 [N,C,h,w]."""
    names = {"grad_features": "feature_excitation", "grad_maps": "map_excitation"}
    differentiated = differentiate(upper, ["features"], ["maps"], rules="excitation", continued=True)
    return _gradient(differentiated, "maps_excitation", names, ["map_excitation"])


def _pixel_gradient(whole: onnx.ModelProto, name: str, rules: str) -> onnx.ModelProto:
    """`frames` uint8 [N,H,W,3], `feature_gradient` [N,F] -> `pixel_gradient` f32 [N,H,W,3]."""
    names = {"grad_features": "feature_gradient", "grad_frames": "pixel_gradient"}
    gradient = _gradient(differentiate(whole, ["features"], ["frames"], rules=rules), name, names, ["pixel_gradient"])
    # Differentiated for real numbers, run on a camera's bytes.
    model = ir.from_proto(gradient)
    frames = model.graph.inputs[0]
    real = ir.node("Cast", [frames], attributes={"to": int(ir.DataType.FLOAT)})
    real.outputs[0].dtype, real.outputs[0].shape = ir.DataType.FLOAT, frames.shape
    for user, index in list(frames.uses()):
        user.replace_input_with(index, real.outputs[0])
    real.replace_input_with(0, frames)
    model.graph.insert_before(model.graph[0], real)
    frames.dtype = ir.DataType.UINT8
    simplify(model)
    return ir.to_proto(model)


def _gradient(
    differentiated: onnx.ModelProto, name: str, names: Mapping[str, str], outputs: Sequence[str]
) -> onnx.ModelProto:
    return _only(rename(differentiated, names), outputs, name)


def _only(model: onnx.ModelProto, outputs: Sequence[str], name: str) -> onnx.ModelProto:
    """`model` with these of its outputs alone: what nobody asks for is not computed."""
    kept = ir.from_proto(model)
    graph = kept.graph
    for index in reversed(range(len(graph.outputs))):
        if graph.outputs[index].name not in outputs:
            del graph.outputs[index]
    graph.name = name
    simplify(kept)
    return ir.to_proto(kept)


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    tidied = ir.from_proto(model)
    simplify(tidied)
    return ir.to_proto(tidied)
