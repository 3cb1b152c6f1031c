"""Rules of the operators that act element by element."""

from __future__ import annotations

import math

import onnx_ir as ir

from whycam_export.autodiff.walk import DifferentiationError, Gradients, Rule, Walk, attribute, fixed


def _add(walk: Walk, node: ir.Node) -> Gradients:
    dy, (a, b), y = walk.incoming(node), _two(node), node.outputs[0]
    return [walk.sum_to(dy, value, y) if walk.wants(value) else None for value in (a, b)]


def _sub(walk: Walk, node: ir.Node) -> Gradients:
    dy, (a, b), y = walk.incoming(node), _two(node), node.outputs[0]
    return [
        walk.sum_to(dy, a, y) if walk.wants(a) else None,
        walk.sum_to(walk.op("Neg", dy), b, y) if walk.wants(b) else None,
    ]


def _mul(walk: Walk, node: ir.Node) -> Gradients:
    dy, (a, b), y = walk.incoming(node), _two(node), node.outputs[0]
    return [
        walk.sum_to(walk.op("Mul", dy, b), a, y) if walk.wants(a) else None,
        walk.sum_to(walk.op("Mul", dy, a), b, y) if walk.wants(b) else None,
    ]


def _div(walk: Walk, node: ir.Node) -> Gradients:
    dy, (a, b), y = walk.incoming(node), _two(node), node.outputs[0]
    share = walk.op("Div", dy, b)
    return [
        walk.sum_to(share, a, y) if walk.wants(a) else None,
        walk.sum_to(walk.op("Neg", walk.op("Mul", share, y)), b, y) if walk.wants(b) else None,
    ]


def _pow(walk: Walk, node: ir.Node) -> Gradients:
    dy, (base, exponent), y = walk.incoming(node), _two(node), node.outputs[0]
    if walk.wants(exponent):
        raise DifferentiationError(
            f"node '{node.name}': Pow is differentiated by its base only; make the exponent a constant"
        )
    power = fixed(node, 1)
    assert power is not None  # Pow always has two inputs
    lowered = walk.op("Pow", base, walk.constant(power - 1, like=base))
    return [walk.sum_to(walk.op("Mul", dy, walk.op("Mul", lowered, walk.constant(power, like=base))), base, y), None]


def _extremum(comparison: str) -> Rule:
    """Max and Min of two inputs; where they are equal the gradient goes to the first, as in TensorFlow."""

    def rule(walk: Walk, node: ir.Node) -> Gradients:
        if len(node.inputs) != 2:
            raise DifferentiationError(f"node '{node.name}': {node.op_type} is differentiated with two inputs only")
        dy, (a, b), y = walk.incoming(node), _two(node), node.outputs[0]
        first = walk.op(comparison, a, b)
        to_first = walk.where(first, dy, like=y)
        return [
            walk.sum_to(to_first, a, y) if walk.wants(a) else None,
            walk.sum_to(walk.op("Sub", dy, to_first), b, y) if walk.wants(b) else None,
        ]

    return rule


def _neg(walk: Walk, node: ir.Node) -> Gradients:
    return [walk.op("Neg", walk.incoming(node))]


def _identity(walk: Walk, node: ir.Node) -> Gradients:
    return [walk.incoming(node)]


def _cast(walk: Walk, node: ir.Node) -> Gradients:
    source = node.inputs[0]
    assert source is not None  # Cast always has an input
    if not walk.dtype(source).is_floating_point():
        return [None]
    return [walk.op("Cast", walk.incoming(node), to=int(walk.dtype(source)))]


def _relu(walk: Walk, node: ir.Node) -> Gradients:
    # The mask is read off the output, so that ONNX Runtime may fuse the Relu into the convolution before it.
    dy, y = walk.incoming(node), node.outputs[0]
    return [walk.where(walk.op("Greater", y, walk.constant(0, like=y)), dy, like=y)]


def _leaky_relu(walk: Walk, node: ir.Node) -> Gradients:
    dy, x = walk.incoming(node), _one(node)
    slope = walk.constant(attribute(node, "alpha", 0.01), like=x)
    return [walk.op("Where", walk.op("Greater", x, walk.constant(0, like=x)), dy, walk.op("Mul", dy, slope))]


def _prelu(walk: Walk, node: ir.Node) -> Gradients:
    dy, (x, slope) = walk.incoming(node), _two(node)
    if walk.wants(slope):
        raise DifferentiationError(f"node '{node.name}': PRelu is differentiated by its input only, not by its slope")
    return [walk.op("Where", walk.op("Greater", x, walk.constant(0, like=x)), dy, walk.op("Mul", dy, slope))]


def _selu(walk: Walk, node: ir.Node) -> Gradients:
    # For x < 0: gamma alpha exp(x) = y + gamma alpha.
    dy, x, y = walk.incoming(node), _one(node), node.outputs[0]
    gamma, alpha = attribute(node, "gamma", 1.0507009873554805), attribute(node, "alpha", 1.6732632423543772)
    below = walk.op("Add", y, walk.constant(gamma * alpha, like=x))
    slope = walk.op("Where", walk.op("Greater", x, walk.constant(0, like=x)), walk.constant(gamma, like=x), below)
    return [walk.op("Mul", dy, slope)]


def _elu(walk: Walk, node: ir.Node) -> Gradients:
    # For x < 0: alpha exp(x) = y + alpha.
    dy, x, y = walk.incoming(node), _one(node), node.outputs[0]
    slope = walk.op("Add", y, walk.constant(attribute(node, "alpha", 1.0), like=x))
    return [walk.op("Where", walk.op("Greater", x, walk.constant(0, like=x)), dy, walk.op("Mul", dy, slope))]


def _clip(walk: Walk, node: ir.Node) -> Gradients:
    dy, x = walk.incoming(node), _one(node)
    gradient = dy
    for index, comparison in ((1, "Greater"), (2, "Less")):
        bound = fixed(node, index)
        if bound is not None:
            inside = walk.op(comparison, x, walk.constant(bound, like=x))
            gradient = walk.where(inside, gradient, like=x)
    return [gradient]


def _sigmoid(walk: Walk, node: ir.Node) -> Gradients:
    dy, y = walk.incoming(node), node.outputs[0]
    return [walk.op("Mul", dy, walk.op("Mul", y, walk.op("Sub", walk.constant(1, like=y), y)))]


def _hard_sigmoid(walk: Walk, node: ir.Node) -> Gradients:
    dy, y = walk.incoming(node), node.outputs[0]
    zero, one = walk.constant(0, like=y), walk.constant(1, like=y)
    inside = walk.op("And", walk.op("Greater", y, zero), walk.op("Less", y, one))
    slope = walk.constant(attribute(node, "alpha", 0.2), like=y)
    return [walk.where(inside, walk.op("Mul", dy, slope), like=y)]


def _hard_swish(walk: Walk, node: ir.Node) -> Gradients:
    # y = x clip(x / 6 + 1 / 2, 0, 1): a slope of x / 3 + 1 / 2 between -3 and 3, else 0 or 1.
    dy, x = walk.incoming(node), _one(node)
    middle = walk.op("Add", walk.op("Mul", x, walk.constant(1 / 3, like=x)), walk.constant(0.5, like=x))
    above = walk.op("Where", walk.op("GreaterOrEqual", x, walk.constant(3, like=x)), walk.constant(1, like=x), middle)
    return [walk.where(walk.op("Greater", x, walk.constant(-3, like=x)), walk.op("Mul", dy, above), like=x)]


def _gelu(walk: Walk, node: ir.Node) -> Gradients:
    """Hendrycks & Gimpel, Gaussian Error Linear Units (2016): x Phi(x), or its approximation by tanh."""
    dy, x = walk.incoming(node), _one(node)
    half, one = walk.constant(0.5, like=x), walk.constant(1, like=x)
    square = walk.op("Mul", x, x)
    if attribute(node, "approximate", "none") == "none":
        phi = walk.op("Add", walk.op("Erf", walk.op("Mul", x, walk.constant(math.sqrt(0.5), like=x))), one)
        bell = walk.op("Exp", walk.op("Neg", walk.op("Mul", square, half)))
        slope = walk.op("Mul", bell, walk.constant(2 / math.sqrt(2 * math.pi), like=x))
    else:
        width = math.sqrt(2 / math.pi)
        cubic = walk.op("Mul", square, walk.constant(0.044715 * width, like=x))
        inner = walk.op("Mul", x, walk.op("Add", cubic, walk.constant(width, like=x)))
        squashed = walk.op("Tanh", inner)
        phi = walk.op("Add", squashed, one)
        steep = walk.op("Add", walk.op("Mul", cubic, walk.constant(3, like=x)), walk.constant(width, like=x))
        slope = walk.op("Mul", walk.op("Sub", one, walk.op("Mul", squashed, squashed)), steep)
    return [walk.op("Mul", dy, walk.op("Mul", half, walk.op("Add", phi, walk.op("Mul", x, slope))))]


def _tanh(walk: Walk, node: ir.Node) -> Gradients:
    dy, y = walk.incoming(node), node.outputs[0]
    return [walk.op("Mul", dy, walk.op("Sub", walk.constant(1, like=y), walk.op("Mul", y, y)))]


def _softplus(walk: Walk, node: ir.Node) -> Gradients:
    return [walk.op("Mul", walk.incoming(node), walk.op("Sigmoid", _one(node)))]


def _softsign(walk: Walk, node: ir.Node) -> Gradients:
    # d/dx x / (1 + |x|) = 1 / (1 + |x|)^2
    dy, x = walk.incoming(node), _one(node)
    width = walk.op("Add", walk.op("Abs", x), walk.constant(1, like=x))
    return [walk.op("Div", dy, walk.op("Mul", width, width))]


def _exp(walk: Walk, node: ir.Node) -> Gradients:
    return [walk.op("Mul", walk.incoming(node), node.outputs[0])]


def _log(walk: Walk, node: ir.Node) -> Gradients:
    return [walk.op("Div", walk.incoming(node), _one(node))]


def _sqrt(walk: Walk, node: ir.Node) -> Gradients:
    y = node.outputs[0]
    return [walk.op("Div", walk.incoming(node), walk.op("Mul", y, walk.constant(2, like=y)))]


def _reciprocal(walk: Walk, node: ir.Node) -> Gradients:
    y = node.outputs[0]
    return [walk.op("Neg", walk.op("Mul", walk.incoming(node), walk.op("Mul", y, y)))]


def _abs(walk: Walk, node: ir.Node) -> Gradients:
    return [walk.op("Mul", walk.incoming(node), walk.op("Sign", _one(node)))]


def _erf(walk: Walk, node: ir.Node) -> Gradients:
    # d/dx erf(x) = 2 / sqrt(pi) exp(-x^2)
    dy, x = walk.incoming(node), _one(node)
    bell = walk.op("Exp", walk.op("Neg", walk.op("Mul", x, x)))
    return [walk.op("Mul", dy, walk.op("Mul", bell, walk.constant(2 / math.sqrt(math.pi), like=x)))]


def _where(walk: Walk, node: ir.Node) -> Gradients:
    dy, y = walk.incoming(node), node.outputs[0]
    condition, a, b = node.inputs
    assert a is not None and b is not None  # Where always has three inputs
    zero = walk.constant(0, like=dy)
    return [
        None,
        walk.sum_to(walk.op("Where", condition, dy, zero), a, y) if walk.wants(a) else None,
        walk.sum_to(walk.op("Where", condition, zero, dy), b, y) if walk.wants(b) else None,
    ]


def _one(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None  # an operator of this file always has its first input
    return value


def _two(node: ir.Node) -> tuple[ir.Value, ir.Value]:
    a, b = node.inputs[:2]
    assert a is not None and b is not None  # a binary operator always has both inputs
    return a, b


RULES: dict[str, Rule] = {
    "Abs": _abs,
    "Add": _add,
    "Cast": _cast,
    "Clip": _clip,
    "Div": _div,
    "Elu": _elu,
    "Erf": _erf,
    "Exp": _exp,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": _identity,
    "LeakyRelu": _leaky_relu,
    "Log": _log,
    "Max": _extremum("GreaterOrEqual"),
    "Min": _extremum("LessOrEqual"),
    "Mul": _mul,
    "Neg": _neg,
    "PRelu": _prelu,
    "Pow": _pow,
    "Reciprocal": _reciprocal,
    "Relu": _relu,
    "Selu": _selu,
    "Sigmoid": _sigmoid,
    "Softplus": _softplus,
    "Softsign": _softsign,
    "Sqrt": _sqrt,
    "Sub": _sub,
    "Tanh": _tanh,
    "Where": _where,
}
