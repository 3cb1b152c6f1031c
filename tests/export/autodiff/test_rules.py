"""Each rule against central differences, and against what ONNX Runtime makes of the differentiated graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from whycam_export.autodiff import DifferentiationError, differentiate

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def model(
    nodes: list[onnx.NodeProto], shape: tuple[Any, ...], constants: dict[str, np.ndarray], dtype: type[np.floating[Any]]
) -> onnx.ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    initializers = [
        numpy_helper.from_array(array.astype(dtype) if array.dtype.kind == "f" else array, name)
        for name, array in constants.items()
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        initializers,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return onnx.shape_inference.infer_shapes(made, data_prop=True)


def node(op: str, *inputs: str, outputs: tuple[str, ...] = ("y",), **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, ["x", *inputs], list(outputs), name=f"the_{op}", **attributes)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


IMAGE = (2, 4, 7, 6)
MATRIX = (3, 5)
CASES: dict[str, tuple[list[onnx.NodeProto], tuple[int, ...], dict[str, np.ndarray]]] = {
    "add, broadcast constant": ([node("Add", "b")], MATRIX, {"b": normal(2, 1, 5)}),
    "add to itself": ([node("Add", "x")], MATRIX, {}),
    "sub from constant": ([helper.make_node("Sub", ["b", "x"], ["y"])], MATRIX, {"b": normal(2, 3, 5)}),
    "mul by itself": ([node("Mul", "x")], MATRIX, {}),
    "mul by wider": ([node("Mul", "b")], (3, 1), {"b": normal(3, 5)}),
    "div by constant": ([node("Div", "b")], MATRIX, {"b": normal(5) + 4}),
    "div of constant": (
        [helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Div", ["b", "e"], ["y"])],
        MATRIX,
        {"b": normal(3, 5)},
    ),
    "pow": (
        [helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Pow", ["e", "p"], ["y"])],
        MATRIX,
        {"p": np.array(2.5)},
    ),
    "max with constant": ([node("Max", "b")], MATRIX, {"b": normal(5)}),
    "min with constant": ([node("Min", "b")], MATRIX, {"b": normal(5)}),
    "neg": ([node("Neg")], MATRIX, {}),
    "identity": ([node("Identity")], MATRIX, {}),
    "relu": ([node("Relu")], MATRIX, {}),
    "leaky relu": ([node("LeakyRelu", alpha=0.3)], MATRIX, {}),
    "elu": ([node("Elu", alpha=0.7)], MATRIX, {}),
    "clip": ([node("Clip", "lo", "hi")], MATRIX, {"lo": np.array(-0.5), "hi": np.array(0.6)}),
    "clip above only": ([helper.make_node("Clip", ["x", "", "hi"], ["y"])], MATRIX, {"hi": np.array(0.6)}),
    "sigmoid": ([node("Sigmoid")], MATRIX, {}),
    "hard sigmoid": ([node("HardSigmoid", alpha=0.3, beta=0.5)], MATRIX, {}),
    "tanh": ([node("Tanh")], MATRIX, {}),
    "softplus": ([node("Softplus")], MATRIX, {}),
    "softsign": ([node("Softsign")], MATRIX, {}),
    "exp": ([node("Exp")], MATRIX, {}),
    "log": ([helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Log", ["e"], ["y"])], MATRIX, {}),
    "sqrt": ([helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Sqrt", ["e"], ["y"])], MATRIX, {}),
    "reciprocal": ([helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Reciprocal", ["e"], ["y"])], MATRIX, {}),
    "prelu": ([node("PRelu", "s")], MATRIX, {"s": normal(5)}),
    "selu": ([node("Selu", alpha=1.5, gamma=1.2)], MATRIX, {}),
    "hard swish": (
        [helper.make_node("Mul", ["x", "four"], ["z"]), helper.make_node("HardSwish", ["z"], ["y"])],
        MATRIX,
        {"four": np.array(4.0)},
    ),
    "gelu by tanh": ([node("Gelu", approximate="tanh")], MATRIX, {}),
    "abs": ([node("Abs")], MATRIX, {}),
    "where": ([helper.make_node("Where", ["c", "x", "b"], ["y"])], MATRIX, {"c": normal(3, 5) > 0, "b": normal(5)}),
    "matmul": ([node("MatMul", "b")], MATRIX, {"b": normal(5, 4)}),
    "matmul from the left": ([helper.make_node("MatMul", ["b", "x"], ["y"])], MATRIX, {"b": normal(4, 3)}),
    "matmul of a stack": ([node("MatMul", "b")], (2, 3, 5), {"b": normal(5, 4)}),
    "matmul by a stack": ([node("MatMul", "b")], MATRIX, {"b": normal(2, 5, 4)}),
    "gemm": ([node("Gemm", "b", "c", alpha=0.5, beta=2.0)], MATRIX, {"b": normal(5, 4), "c": normal(4)}),
    "gemm transposed": ([node("Gemm", "b", alpha=0.5, transA=1, transB=1)], MATRIX, {"b": normal(4, 3)}),
    "gemm, second input": ([helper.make_node("Gemm", ["b", "x"], ["y"], transB=1)], MATRIX, {"b": normal(4, 5)}),
    "gemm, second input transposed": (
        [helper.make_node("Gemm", ["b", "x"], ["y"], transA=1)],
        MATRIX,
        {"b": normal(3, 4)},
    ),
    "gemm, bias": (
        [helper.make_node("Gemm", ["a", "b", "x"], ["y"], beta=3.0)],
        (1, 5),
        {"a": normal(4, 2), "b": normal(2, 5)},
    ),
    "conv, same": ([node("Conv", "w", pads=[1, 1, 1, 1])], IMAGE, {"w": normal(5, 4, 3, 3)}),
    "conv, valid, not square": ([node("Conv", "w")], IMAGE, {"w": normal(5, 4, 2, 3)}),
    "conv, asymmetric padding": ([node("Conv", "w", pads=[0, 2, 1, 0])], IMAGE, {"w": normal(5, 4, 3, 3)}),
    "conv, padding wider than the kernel": ([node("Conv", "w", pads=[2, 2, 2, 2])], IMAGE, {"w": normal(5, 4, 2, 2)}),
    "conv, stride": ([node("Conv", "w", strides=[2, 2], pads=[1, 1, 1, 1])], IMAGE, {"w": normal(5, 4, 3, 3)}),
    "conv, stride with rows left over": ([node("Conv", "w", strides=[3, 2])], IMAGE, {"w": normal(5, 4, 3, 3)}),
    "conv, auto_pad upper": (
        [node("Conv", "w", strides=[2, 2], auto_pad="SAME_UPPER")],
        IMAGE,
        {"w": normal(5, 4, 3, 3)},
    ),
    "conv, auto_pad lower": ([node("Conv", "w", auto_pad="SAME_LOWER")], IMAGE, {"w": normal(5, 4, 2, 2)}),
    "conv, groups": ([node("Conv", "w", group=2, pads=[1, 1, 1, 1])], IMAGE, {"w": normal(6, 2, 3, 3)}),
    "conv, depthwise, stride": (
        [node("Conv", "w", group=4, strides=[2, 2], pads=[0, 0, 1, 1])],
        IMAGE,
        {"w": normal(8, 1, 3, 3)},
    ),
    "conv, dilated": ([node("Conv", "w", dilations=[2, 2], pads=[2, 2, 2, 2])], IMAGE, {"w": normal(5, 4, 3, 3)}),
    "max pool, tiled, rows left over": ([node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])], IMAGE, {}),
    "max pool, overlapping, padded": (
        [node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])],
        IMAGE,
        {},
    ),
    "max pool, stride 1": ([node("MaxPool", kernel_shape=[2, 3], strides=[1, 1])], IMAGE, {}),
    "max pool, wider apart than the kernel": ([node("MaxPool", kernel_shape=[1, 2], strides=[2, 3])], IMAGE, {}),
    "max pool, ceil": ([node("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)], IMAGE, {}),
    "average pool": ([node("AveragePool", kernel_shape=[2, 2], strides=[2, 2])], IMAGE, {}),
    "average pool, padded": ([node("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], IMAGE, {}),
    "average pool, padding counted": (
        [node("AveragePool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], count_include_pad=1)],
        IMAGE,
        {},
    ),
    "global average pool": ([node("GlobalAveragePool")], IMAGE, {}),
    "global max pool": ([node("GlobalMaxPool")], IMAGE, {}),
    "batch normalization": (
        [node("BatchNormalization", "g", "b", "m", "v")],
        IMAGE,
        {"g": normal(4), "b": normal(4), "m": normal(4), "v": normal(4) ** 2 + 0.1},
    ),
    "layer normalization": ([node("LayerNormalization", "g", "b", axis=-1)], MATRIX, {"g": normal(5), "b": normal(5)}),
    "instance normalization": ([node("InstanceNormalization", "g", "b")], IMAGE, {"g": normal(4), "b": normal(4)}),
    "softmax": ([node("Softmax", axis=-1)], MATRIX, {}),
    "softmax, first axis": ([node("Softmax", axis=0)], MATRIX, {}),
    "reduce mean": ([node("ReduceMean", "a", keepdims=0)], IMAGE, {"a": ints(2, 3)}),
    "reduce mean of all": ([node("ReduceMean", keepdims=1)], MATRIX, {}),
    "reduce sum": ([node("ReduceSum", "a", keepdims=1)], IMAGE, {"a": ints(-1)}),
    "reduce max": ([node("ReduceMax", "a", keepdims=0)], IMAGE, {"a": ints(1)}),
    "reduce min": ([node("ReduceMin", "a", keepdims=1)], IMAGE, {"a": ints(2, 3)}),
    "reduce l2": ([node("ReduceL2", "a", keepdims=0)], IMAGE, {"a": ints(1, 2)}),
    "reshape": ([node("Reshape", "s")], IMAGE, {"s": ints(2, -1)}),
    "flatten": ([node("Flatten")], IMAGE, {}),
    "transpose": ([node("Transpose", perm=[1, 2, 0, 3])], IMAGE, {}),
    "expand": ([node("Expand", "s")], (3, 1), {"s": ints(2, 3, 5)}),
    "tile": ([node("Tile", "r")], MATRIX, {"r": ints(2, 3)}),
    "concat with itself": ([helper.make_node("Concat", ["x", "b", "x"], ["y"], axis=1)], MATRIX, {"b": normal(3, 2)}),
    "split, one part used": (
        [helper.make_node("Split", ["x", "s"], ["p", "q"], axis=1), helper.make_node("Exp", ["q"], ["y"])],
        MATRIX,
        {"s": ints(2, 3)},
    ),
    "split, both used": (
        [
            helper.make_node("Split", ["x", "s"], ["p", "q"], axis=1),
            helper.make_node("MatMul", ["p", "w"], ["r"]),
            helper.make_node("Mul", ["r", "q"], ["y"]),
        ],
        MATRIX,
        {"s": ints(2, 3), "w": normal(2, 3)},
    ),
    "slice": ([node("Slice", "b", "e", "a")], IMAGE, {"b": ints(1, -3), "e": ints(6, 2**40), "a": ints(2, 3)}),
    "slice, reversed": (
        [node("Slice", "b", "e", "a", "s")],
        MATRIX,
        {"b": ints(-1), "e": ints(-(2**40)), "a": ints(1), "s": ints(-1)},
    ),
    "slice, every third": (
        [node("Slice", "b", "e", "a", "s")],
        IMAGE,
        {"b": ints(1, -1), "e": ints(7, -(2**40)), "a": ints(2, 3), "s": ints(3, -2)},
    ),
    "pad by reflection": ([node("Pad", "p", mode="reflect")], IMAGE, {"p": ints(0, 0, 2, 3, 0, 0, 1, 0)}),
    "pad by the edge": ([node("Pad", "p", mode="edge")], IMAGE, {"p": ints(0, 1, 2, 3, 0, 0, 4, 0)}),
    "pad": ([node("Pad", "p")], MATRIX, {"p": ints(1, 0, 2, 3)}),
    "gather one": ([node("Gather", "i", axis=1)], MATRIX, {"i": np.array(3, np.int64)}),
    "gather some": ([node("Gather", "i", axis=1)], MATRIX, {"i": ints(4, 0, -2)}),
    "gather some twice": ([node("Gather", "i", axis=0)], MATRIX, {"i": ints(1, 0, 1, 1, -1)}),
    "resize, nearest, twice": (
        [
            helper.make_node(
                "Resize", ["x", "", "s"], ["y"], coordinate_transformation_mode="asymmetric", nearest_mode="floor"
            )
        ],
        IMAGE,
        {"s": np.array([1.0, 1, 2, 2])},
    ),
    "resize, linear, up and down": (
        [helper.make_node("Resize", ["x", "", "", "n"], ["y"], mode="linear")],
        IMAGE,
        {"n": ints(2, 4, 11, 4)},
    ),
    "resize, linear, corners aligned": (
        [
            helper.make_node(
                "Resize", ["x", "", "", "n"], ["y"], mode="linear", coordinate_transformation_mode="align_corners"
            )
        ],
        IMAGE,
        {"n": ints(2, 4, 9, 10)},
    ),
    "resize, cubic": (
        [helper.make_node("Resize", ["x", "", "s"], ["y"], mode="cubic")],
        IMAGE,
        {"s": np.array([1.0, 1, 2, 1.5])},
    ),
    "squeeze": ([node("Squeeze", "a")], (3, 1, 5), {"a": ints(1)}),
    "unsqueeze": ([node("Unsqueeze", "a")], MATRIX, {"a": ints(0, 3)}),
}


@pytest.mark.parametrize("case", CASES)
def test_rule_agrees_with_central_differences(case: str) -> None:
    nodes, shape, constants = CASES[case]
    x, direction = normal(*shape), normal(*shape)
    forward = ReferenceEvaluator(model(nodes, shape, constants, np.float64))
    y = forward.run(None, {"x": x})[0]
    vector = normal(*y.shape)
    step = 1e-6
    ahead, behind = (forward.run(None, {"x": x + sign * step * direction})[0] for sign in (1, -1))
    expected = float(np.sum(vector * (ahead - behind)) / (2 * step))

    differentiated = differentiate(model(nodes, shape, constants, np.float32), ["y"], ["x"])
    onnx.checker.check_model(differentiated, full_check=True)
    session = ort.InferenceSession(differentiated.SerializeToString(), providers=["CPUExecutionProvider"])
    y32, gradient = session.run(None, {"x": x.astype(np.float32), "grad_y": vector.astype(np.float32)})

    np.testing.assert_allclose(y32, y, rtol=1e-4, atol=1e-5)
    assert gradient.shape == tuple(shape)
    scale = float(np.abs(gradient * direction).sum())
    assert float(np.sum(gradient * direction)) == pytest.approx(expected, rel=1e-4, abs=1e-5 * scale + 1e-6)


def run_gradient(
    nodes: list[onnx.NodeProto], x: np.ndarray, constants: dict[str, np.ndarray] | None = None
) -> np.ndarray:
    """The gradient of the sum of y."""
    differentiated = differentiate(model(nodes, x.shape, constants or {}, np.float32), ["y"], ["x"])
    session = ort.InferenceSession(differentiated.SerializeToString(), providers=["CPUExecutionProvider"])
    ones = np.ones(session.get_inputs()[1].shape, np.float32)
    gradient: np.ndarray = session.run(["grad_x"], {"x": x, "grad_y": ones})[0]
    return gradient


def test_erf_agrees_with_its_derivative() -> None:
    # The reference evaluator computes Erf in float32, too coarse for differences.
    x = normal(*MATRIX).astype(np.float32)
    expected = 2 / np.sqrt(np.pi) * np.exp(-(x**2))
    np.testing.assert_allclose(run_gradient([node("Erf")], x), expected, rtol=1e-5)


def test_gelu_agrees_with_its_derivative() -> None:
    # As for Erf, which it is made of.
    x = normal(*MATRIX)
    bell, phi = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), np.vectorize(math.erf)(x / np.sqrt(2)) / 2 + 0.5
    np.testing.assert_allclose(run_gradient([node("Gelu")], x.astype(np.float32)), phi + x * bell, rtol=1e-4, atol=1e-6)


def test_a_length_of_nought_has_no_gradient() -> None:
    gradient = run_gradient([node("ReduceL2", "a")], np.zeros((2, 3), np.float32), {"a": ints(1)})
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


def test_what_a_pad_crops_gets_no_gradient() -> None:
    # The reference evaluator has no negative padding.
    gradient = run_gradient([node("Pad", "p")], np.ones(MATRIX, np.float32), {"p": ints(-1, 2, 0, -1)})
    expected = np.ones(MATRIX, np.float32)
    expected[0] = expected[:, -1] = 0
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("strides", [[2, 2], [1, 1]], ids=["tiled", "overlapping"])
def test_equal_maxima_of_a_pool_are_counted_once_and_the_first_wins(strides: list[int]) -> None:
    pool = node("MaxPool", kernel_shape=[2, 2], strides=strides)
    x = np.ones((1, 1, 5, 4), np.float32)
    expected = np.zeros((5, 4), np.float32)
    expected[:-1:2, ::2] = 1
    if strides == [1, 1]:
        expected[:-1, :-1] = 1
    np.testing.assert_array_equal(run_gradient([pool], x)[0, 0], expected)
    x[0, 0] = [[1, 3, 2, 2], [3, 1, 2, 2], [0, 0, 5, 5], [0, 0, 0, 0], [0, 0, 0, 0]]
    if strides == [2, 2]:
        expected = np.array([[0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
        np.testing.assert_array_equal(run_gradient([pool], x)[0, 0], expected)


def test_equal_maxima_of_a_reduction_share_the_gradient() -> None:
    gradient = run_gradient([node("ReduceMax", keepdims=1)], np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(gradient, np.full((2, 2), 0.25, np.float32))


def test_the_batch_dimension_stays_free() -> None:
    nodes = [
        node("Conv", "w", pads=[1, 1, 1, 1], outputs=("c",)),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    differentiated = differentiate(model(nodes, ("N", 3, 8, 8), {"w": normal(4, 3, 3, 3)}, np.float32), ["y"], ["x"])
    session = ort.InferenceSession(differentiated.SerializeToString(), providers=["CPUExecutionProvider"])
    x, dy = normal(5, 3, 8, 8).astype(np.float32), normal(5, 64).astype(np.float32)
    together = session.run(["grad_x"], {"x": x, "grad_y": dy})[0]
    apart = [session.run(["grad_x"], {"x": x[i : i + 1], "grad_y": dy[i : i + 1]})[0] for i in range(5)]
    np.testing.assert_allclose(together, np.concatenate(apart), rtol=1e-5, atol=1e-5)


def test_a_stride_1_convolution_goes_back_as_a_plain_convolution() -> None:
    differentiated = differentiate(model(*CASES["conv, same"], np.float32), ["y"], ["x"])
    assert [found.op_type for found in differentiated.graph.node] == ["Conv", "Conv"]


def test_weights_of_a_matrix_product_are_stored_once() -> None:
    differentiated = differentiate(
        model([node("MatMul", "b")], (3, 300), {"b": normal(300, 400)}, np.float32), ["y"], ["x"]
    )
    assert sum(len(tensor.raw_data) // 4 >= 300 * 400 for tensor in differentiated.graph.initializer) == 1


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("determinant", "node 'determinant':"),
        ("StatefulPartitionedCall/vgg19_1/block1_conv1_1/convolution", "of layer 'vgg19/block1_conv1':"),
        ("vgg19_1/dense_2_1/MatMul", "of layer 'vgg19/dense_2':"),
        ("model/dense_2/MatMul", "of layer 'model/dense_2':"),
    ],
)
def test_an_operator_without_a_rule_is_named_with_its_node_and_its_layer(name: str, place: str) -> None:
    nodes = [helper.make_node("Det", ["x"], ["y"], name=name)]
    with pytest.raises(DifferentiationError) as caught:
        differentiate(model(nodes, (3, 3), {}, np.float32), ["y"], ["x"])
    assert str(caught.value).startswith(f"node '{name}'")
    assert f"{place} operator Det has no differentiation rule; Abs, Add, " in str(caught.value)


def test_a_native_recurrent_node_is_refused_with_what_to_do() -> None:
    constants = {"w": normal(1, 6, 3), "r": normal(1, 6, 2)}
    nodes = [helper.make_node("GRU", ["x", "w", "r"], ["", "y"], name="head/gru/GRU", hidden_size=2)]
    with pytest.raises(DifferentiationError, match=r"layer 'head/gru': the recurrent operator GRU .* unroll it"):
        differentiate(model(nodes, (4, 1, 3), constants, np.float32), ["y"], ["x"])


def test_nodes_beside_the_way_need_no_rule() -> None:
    nodes = [helper.make_node("Det", ["b"], ["d"]), node("Mul", "d")]
    differentiated = differentiate(model(nodes, (2,), {"b": np.diag([2.0, 3.0])}, np.float32), ["y"], ["x"])
    session = ort.InferenceSession(differentiated.SerializeToString(), providers=["CPUExecutionProvider"])
    gradient = session.run(["grad_x"], {"x": np.ones(2, np.float32), "grad_y": np.ones(2, np.float32)})[0]
    np.testing.assert_allclose(gradient, [6, 6])


def test_an_unknown_output_is_named_with_those_there_are() -> None:
    with pytest.raises(DifferentiationError, match="no output 'z'; it has y"):
        differentiate(model(*CASES["relu"], np.float32), ["z"], ["x"])


def test_an_input_that_no_output_depends_on_is_named() -> None:
    made = model([helper.make_node("Exp", ["b"], ["y"])], (2,), {"b": normal(2)}, np.float32)
    with pytest.raises(DifferentiationError, match="input 'x': no output of y depends on it"):
        differentiate(made, ["y"], ["x"])


def test_a_name_that_is_given_twice_counts_once() -> None:
    differentiated = differentiate(model(*CASES["relu"], np.float32), ["y", "y"], ["x", "x"])
    assert [value.name for value in differentiated.graph.input] == ["x", "grad_y"]
    assert [value.name for value in differentiated.graph.output] == ["y", "grad_x"]


def test_a_gradient_is_not_differentiated_again() -> None:
    differentiated = differentiate(model(*CASES["relu"], np.float32), ["y"], ["x"])
    for outputs, name in ((["y"], "grad_y"), (["grad_x"], "autodiff_constant_1")):
        with pytest.raises(DifferentiationError, match=f"a value '{name}', so it is a gradient already"):
            differentiate(differentiated, outputs, ["x"])


OLDER = [  # operators that have taken axes, bounds and padding as inputs since
    helper.make_node("Unsqueeze", ["x"], ["u"], axes=[0]),
    helper.make_node("Pad", ["u"], ["p"], pads=[0, 0, 1, 0, 0, 0]),
    helper.make_node("Clip", ["p"], ["c"], min=-0.5, max=0.5),
    helper.make_node("ReduceSum", ["c"], ["y"], axes=[0, 2], keepdims=0),
]


def of_opset_10(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    x, y = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", MATRIX), ("y", None))
    )
    return helper.make_model(
        helper.make_graph(nodes, "old", [x], [y]), opset_imports=[helper.make_opsetid("", 10)], ir_version=5
    )


def test_a_model_of_an_older_opset_is_brought_up_to_date() -> None:
    differentiated = differentiate(of_opset_10(OLDER), ["y"], ["x"])
    onnx.checker.check_model(differentiated, full_check=True)
    session = ort.InferenceSession(differentiated.SerializeToString(), providers=["CPUExecutionProvider"])
    x = normal(*MATRIX).astype(np.float32)
    gradient = session.run(["grad_x"], {"x": x, "grad_y": np.array([1, 2, 3], np.float32)})[0]
    np.testing.assert_array_equal(gradient, (np.abs(x) < 0.5) * np.array([[1], [2], [3]]))


def test_a_model_of_an_older_opset_that_cannot_be_converted_is_refused() -> None:
    odd = [helper.make_node("NoSuchOperator", ["x"], ["y"])]
    with pytest.raises(DifferentiationError, match="the model's opset 10 cannot be converted to 18") as caught:
        differentiate(of_opset_10(odd), ["y"], ["x"])
    assert "\n" not in str(caught.value)


def test_an_unknown_rule_book_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no rule book 'magic'; there are gradient"):
        differentiate(model(*CASES["relu"], np.float32), ["y"], ["x"], rules="magic")
