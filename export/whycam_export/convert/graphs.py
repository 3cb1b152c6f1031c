"""All graphs of a bundle, from the two halves of a Keras model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx
import onnx_ir as ir
from onnx import compose

from whycam.bundle.manifest import StateTensor
from whycam_export.autodiff import differentiate
from whycam_export.autodiff.simplify import simplify
from whycam_export.convert.chain import Chain
from whycam_export.convert.extractor import Extractor
from whycam_export.convert.graph import rename
from whycam_export.convert.head import Head, gradient_graph, step_graph, window_graph
from whycam_export.convert.preprocessing import Preprocessing
from whycam_export.convert.tensorflow_onnx import to_onnx

Stage = Callable[[str], None]
"""Called with what is done next, to show it."""


@dataclass(frozen=True)
class Graphs:
    """The graphs of a bundle by file name, and the states of the step graph."""

    models: dict[str, onnx.ModelProto]
    states: tuple[StateTensor, ...]


def build_graphs(chain: Chain, extractor: Extractor, head: Head, preprocessing: Preprocessing, stage: Stage) -> Graphs:
    """Write the graphs named in the bundle's description; `stage` hears what is done next."""
    stage(f"convert the CNN up to {extractor.cam_layer}")
    lower = to_onnx(extractor.lower, "images", "maps")
    stage(f"convert the CNN above {extractor.cam_layer}")
    upper = to_onnx(extractor.upper, "maps", "features")
    models = {
        "features.onnx": _joined(preprocessing.graph(chain.height, chain.width), lower, upper),
        "head.onnx": window_graph(head),
    }
    states: list[StateTensor] = []
    if head.no_step is None:
        stage("write the recurrent head and its sliding window")
        models["step.onnx"], states = step_graph(head)
    stage("differentiate the recurrent head")
    models["head_vjp.onnx"] = gradient_graph(head)
    stage(f"differentiate the CNN above {extractor.cam_layer}")
    models["maps_vjp.onnx"] = _map_gradient(upper)
    for model in models.values():
        onnx.checker.check_model(model, full_check=True)
    return Graphs(models, tuple(states))


def _joined(preprocessing: onnx.ModelProto, lower: onnx.ModelProto, upper: onnx.ModelProto) -> onnx.ModelProto:
    """`frames` uint8 [N,H,W,3] -> `features` f32 [N,F], `maps` f32 [N,C,h,w]."""
    below = compose.merge_models(
        compose.add_prefix(preprocessing, "preprocessing/", rename_inputs=False, rename_outputs=False),
        compose.add_prefix(lower, "lower/", rename_inputs=False, rename_outputs=False),
        io_map=[("images", "images")],
    )
    above = rename(compose.add_prefix(upper, "upper/", rename_inputs=False, rename_outputs=False), {"maps": "maps_in"})
    whole = ir.from_proto(
        compose.merge_models(below, above, io_map=[("maps", "maps_in")], outputs=["features", "maps"], name="features")
    )
    simplify(whole)
    return ir.to_proto(whole)


def _map_gradient(upper: onnx.ModelProto) -> onnx.ModelProto:
    """`maps` f32 [N,C,h,w], `feature_gradient` [N,F] -> `map_gradient` f32 [N,C,h,w]."""
    differentiated = ir.from_proto(differentiate(upper, ["features"], ["maps"]))
    graph = differentiated.graph
    del graph.outputs[0]  # the features themselves: the ring has them
    graph.name = "maps_vjp"
    simplify(differentiated)
    names = {"grad_features": "feature_gradient", "grad_maps": "map_gradient"}
    return rename(ir.to_proto(differentiated), names)
