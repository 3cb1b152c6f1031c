"""The graphs of a head: the window, the sliding window in constant depth, and the gradient of a logit."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from whycam.bundle.manifest import StateTensor
from whycam_export.autodiff import differentiate
from whycam_export.autodiff.simplify import simplify
from whycam_export.convert.graph import GraphBuilder, float_input, rename
from whycam_export.convert.head.reading import Head
from whycam_export.convert.head.stages import StepStates, TemporalAttention


def window_graph(head: Head) -> onnx.ModelProto:
    """`window` f32 [N,T,F] -> `logits`, `scores` f32 [N,K], with native GRU and LSTM nodes."""
    graph = GraphBuilder()
    window = x = float_input("window", "N", head.frames, head.features)
    for stage in head.stages:
        x = stage.window(graph, x)
    return graph.build("head", [window], _scored(graph, head, x))


def step_graph(head: Head) -> tuple[onnx.ModelProto, list[StateTensor]]:
    """`features` f32 [N,F] and states -> `logits`, `scores` f32 [N,K] and the next states.

    T windows are in flight, each started one frame after the other, as a batch in the states; a frame advances them
    all, and the one that has now seen T frames gives the scores. Equal to running the window, with the recurrent
    weights read once instead of T times. Only for heads without `no_step`.
    """
    graph = GraphBuilder()
    features = x = float_input("features", "N", head.features)
    states = StepStates(head.frames)
    for stage in head.stages:
        x = stage.step(graph, x, states)
    model = graph.build("step", [features, *states.inputs], {**_scored(graph, head, x), **states.outputs})
    return model, [StateTensor(name=name, shape=shape) for name, shape in states.shapes.items()]


def gradient_graph(head: Head) -> onnx.ModelProto:
    """`window` f32 [T,F], `target` f32 [K] -> `logits` [K], and `feature_gradient` [T,F] of target . logits."""
    differentiated = differentiate(_unrolled(head, "head_vjp"), ["logits"], ["window"])
    return rename(differentiated, {"grad_logits": "target", "grad_window": "feature_gradient"})


def excitation_graph(head: Head) -> onnx.ModelProto:
    """`window` f32 [T,F], `target` f32 [K] -> `feature_excitation` [T,F], winning probabilities that sum to 1.

    The target . logits is one neuron over what the last dense layer takes (Zhang 2016, eq. 3; Bargal 2018); a target of
    both signs is a contrast. All 0 where nothing excites it.
    """
    differentiated = differentiate(_unrolled(head, "head_excitation"), ["logits"], ["window"], rules="excitation")
    model = ir.from_proto(differentiated)
    del model.graph.outputs[0]  # the logits: nobody asks this graph for them
    simplify(model)
    return rename(ir.to_proto(model), {"grad_logits": "target", "grad_window": "feature_excitation"})


def attention_graph(head: Head) -> onnx.ModelProto:
    """`window` f32 [T,F] -> `attention` f32 [T]: the weights that attention gives the frames, which sum to 1.

    Only for heads with attention.
    """
    graph = GraphBuilder()
    window = x = float_input("window", head.frames, head.features)
    for stage in head.stages:
        if isinstance(stage, TemporalAttention):
            x = stage.weights(graph, x, axis=0)
            break
        x = stage.unrolled(graph, x, head.frames)
    return graph.build("head_attention", [window], {"attention": graph.op("Reshape", x, graph.integers(head.frames))})


def _unrolled(head: Head, name: str) -> onnx.ModelProto:
    """`window` f32 [T,F] -> `logits` [K], in primitive operators."""
    graph = GraphBuilder()
    window = x = float_input("window", head.frames, head.features)
    for stage in head.stages:
        x = stage.unrolled(graph, x, head.frames)
    logits = graph.op("Reshape", _logits(graph, head, x), graph.integers(head.classes))
    return graph.build(name, [window], {"logits": logits})


def _logits(graph: GraphBuilder, head: Head, x: ir.Value) -> ir.Value:
    return graph.op("Concat", graph.op("Neg", x), x, axis=-1) if head.single_sigmoid else x


def _scored(graph: GraphBuilder, head: Head, x: ir.Value) -> dict[str, ir.Value]:
    logits = _logits(graph, head, x)
    scores = graph.op("Sigmoid", logits) if head.single_sigmoid else graph.op("Softmax", logits, axis=-1)
    return {"logits": logits, "scores": scores}
