"""The reverse walk: one pass over the graph's nodes from the outputs to the inputs, a rule per operator."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx.version_converter
import onnx_ir as ir

from whycam_export.autodiff.rulebooks import rulebook
from whycam_export.autodiff.simplify import infer_shapes, simplify
from whycam_export.autodiff.top import Top, find_top
from whycam_export.autodiff.walk import CONSTANT, DifferentiationError, Walk

OPSET = 18
"""The lowest whose operators are those that the rules write: reductions take their axes as an input."""


def differentiate(
    model: onnx.ModelProto,
    outputs: Sequence[str],
    inputs: Sequence[str],
    rules: str = "gradient",
    *,
    continued: bool = False,
) -> onnx.ModelProto:
    """Extend `model` by the vector-Jacobian product of `outputs` with respect to `inputs`.

    Args:
        model: an ONNX model whose shapes are static but for the batch dimension; of an older opset than 18 it is
            converted first.
        outputs: names of the graph's outputs to differentiate.
        inputs: names of what to differentiate by, inputs of the graph or values within it (a layer's feature maps).
        rules: the rule book: `"gradient"`, `"guided"`, `"excitation"`, `"contrastive-excitation"`, `"lrp"`,
            `"lrp-epsilon"` or `"lrp-z-plus"`; all but the first take what arrives at a neuron for something else than
            its derivative, see `rules`.
        continued: the vectors are what another graph, the rest of the network, handed down by the same book. The
            excitation books then leave the topmost linear layer as it is; without it they fold the vector into its
            weights.

    Returns:
        A model with the inputs of `model`, then an input `grad_OUTPUT` for each of `outputs` (the vector, of the
        output's shape); and with the outputs of `model`, then an output `grad_INPUT` for each of `inputs`, of the
        input's shape: sum over outputs of grad_OUTPUT times the derivative of OUTPUT by INPUT.

    Raises:
        DifferentiationError: an operator on the way has no rule (its node is named), a shape that a rule needs is not
            static, a name is not one of the graph's, the model is a gradient already or cannot be brought to the opset
            of the rules, or a contrast has no linear layer at the top.
        ValueError: there is no such rule book.

    Method: reverse accumulation; Griewank & Walther, Evaluating Derivatives (2008), section 3.2.
    """
    book = rulebook(rules)
    graph_model = ir.from_proto(_current(model))
    infer_shapes(graph_model)
    graph = graph_model.graph
    inputs, outputs = tuple(dict.fromkeys(inputs)), tuple(dict.fromkeys(outputs))
    _check_names(graph, [f"grad_{name}" for name in (*inputs, *outputs)])
    wanted = [_named([*graph.inputs, *_inner(graph)], name, "input or inner value") for name in inputs]
    sources = [_named(graph.outputs, name, "output") for name in outputs]
    walk = Walk(_depending_on(graph, wanted))
    top = find_top(walk, sources) if book.top and not continued else Top()
    if book.needs_top and not continued and not top.layers:
        names = ", ".join(outputs)
        raise DifferentiationError(f"{names}: no linear layer to contrast by; name the logits as the output")

    for source in sources:
        cotangent = ir.val(f"grad_{source.name}", dtype=source.dtype, shape=source.shape)
        graph.inputs.append(cotangent)
        walk.accumulate(source, cotangent)
    for node in reversed(list(graph)):
        walk.step_back(node, book.above if node in top.above else book.top if node in top.layers else book.rules)
    for value in wanted:
        gradient = walk.gradient(value)
        if gradient is None:
            names = ", ".join(outputs)
            raise DifferentiationError(f"input '{value.name}': no output of {names} depends on it; name another input")
        result = walk.op("Identity", gradient)
        result.name, result.shape = f"grad_{value.name}", value.shape
        result.dtype = walk.dtype(value)
        graph.outputs.append(result)

    graph.extend(walk.tape.nodes)
    for constant in walk.tape.initializers:
        graph.register_initializer(constant)
    simplify(graph_model)
    return ir.to_proto(graph_model)


def _current(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` in an opset whose operators the rules may write."""
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), OPSET)
    if opset >= OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # it raises whatever the operator that it does not know leads to
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise DifferentiationError(
            f"the model's opset {opset} cannot be converted to {OPSET} ({reason.strip()[:200]}); export it with opset "
            f"{OPSET} or later"
        ) from error


def _check_names(graph: ir.Graph, new: Sequence[str]) -> None:
    values = [*graph.inputs, *graph.initializers.values(), *_inner(graph)]
    for name in (str(value.name) for value in values):
        if name in new or name.startswith(CONSTANT):
            raise DifferentiationError(
                f"the graph has a value '{name}', so it is a gradient already; differentiate the model it was made of"
            )


def _named(values: Sequence[ir.Value], name: str, kind: str) -> ir.Value:
    for value in values:
        if value.name == name:
            return value
    names = ", ".join(str(value.name) for value in values[:20]) + (" ..." if len(values) > 20 else "")
    raise DifferentiationError(f"the graph has no {kind} '{name}'; it has {names}")


def _inner(graph: ir.Graph) -> list[ir.Value]:
    return [value for node in graph for value in node.outputs]


def _depending_on(graph: ir.Graph, inputs: Sequence[ir.Value]) -> set[ir.Value]:
    active = set(inputs)
    for node in graph:
        if any(value in active for value in node.inputs if value is not None):
            active.update(node.outputs)
    return active
