"""INT8 and FP16 networks: what they take and give, and what stays in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.calibration import conv_bundle
from tests.runtime.tiny_bundle import Expected
from whycam.bundle import Bundle, Manifest
from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.extractor import Extractor
from whycam_calibration.precision.fp16 import halve, unsafe_nodes
from whycam_calibration.precision.int8 import CPU, PORTABLE, Form, quantize
from whycam_calibration.precision.network import layer_name, network_of, read_network
from whycam_calibration.precision.progress import silent
from whycam_calibration.precision.ranges import METHODS, Method, collect_ranges

IMAGES = np.concatenate([conv_bundle.textures(seed, 4) for seed in range(8)])
FORMS = pytest.mark.parametrize("form", [PORTABLE, CPU], ids=lambda form: form.precision)


@pytest.fixture
def manifest(conv: Path) -> Manifest:
    return Bundle.open(conv).manifest


def opened(content: bytes) -> onnx.ModelProto:
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    return model


@FORMS
@pytest.mark.parametrize("method", METHODS)
def test_int8_gives_features_and_maps_in_float32_under_their_names(
    form: Form, method: Method, manifest: Manifest
) -> None:
    network = network_of(conv_bundle.network())

    content = quantize(network, collect_ranges(network, IMAGES, method, silent), form)

    model = opened(content)
    assert {out.name: out.type.tensor_type.elem_type for out in model.graph.output} == {
        "features": TensorProto.FLOAT,
        "maps": TensorProto.FLOAT,
    }
    features, (maps,) = Extractor(content, manifest)(IMAGES)
    assert features.dtype == maps.dtype == np.float32
    assert maps == pytest.approx(Expected(IMAGES).maps, abs=0.03)
    assert features == pytest.approx(Expected(IMAGES).features, abs=0.03)


@FORMS
def test_weights_are_eight_bits_symmetric_for_each_channel_and_preprocessing_is_left_alone(form: Form) -> None:
    network = network_of(conv_bundle.network())

    model = opened(quantize(network, collect_ranges(network, IMAGES, "minmax", silent), form))

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    kernel = "lower/model_1/spread_1/kernel"
    assert weights[f"{kernel}_quantized"].data_type == TensorProto.INT8
    assert list(weights[f"{kernel}_scale"].dims) == [4]
    assert not numpy_helper.to_array(weights[f"{kernel}_zero_point"]).any()
    producers = {output: node for node in model.graph.node for output in node.output}
    division = next(node for node in model.graph.node if node.op_type == "Div")
    assert [producers[division.input[0]].op_type, division.input[1]] == ["Cast", "white"]


@FORMS
def test_activations_are_signed_around_zero_for_tensorrt_and_unsigned_for_the_cpu(form: Form) -> None:
    network = network_of(conv_bundle.network())

    model = opened(quantize(network, collect_ranges(network, IMAGES, "minmax", silent), form))

    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    points = {weights[node.input[2]].dtype for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert points == {np.dtype(np.int8 if form is PORTABLE else np.uint8)}
    assert all(weights[n.input[2]] == 0 for n in model.graph.node if n.op_type == "QuantizeLinear")


@FORMS
def test_a_layer_in_higher_precision_reads_what_was_not_rounded(form: Form, manifest: Manifest) -> None:
    network = network_of(conv_bundle.network(outlier=1e4))
    ranges = collect_ranges(network, IMAGES, "minmax", silent)
    (gather,) = (layer.node for layer in network.layers if layer.name == "gather")

    plain, _ = Extractor(quantize(network, ranges, form), manifest)(IMAGES)
    repaired, _ = Extractor(quantize(network, ranges, form, higher={gather}), manifest)(IMAGES)

    expected = Expected(IMAGES).features
    assert np.abs(plain - expected).max() > 0.3
    assert repaired == pytest.approx(expected, abs=0.03)


def test_normalization_behind_a_convolution_is_folded_into_it(conv: Path) -> None:
    graph = conv_bundle.network()
    (node,) = (node for node in graph.graph.node if node.output[0] == "maps")
    node.input[0] = "normal"
    scope = "lower/model_1/gather_1"
    index = list(graph.graph.node).index(node)
    graph.graph.node.insert(index, helper.make_node("Mul", [f"{scope}/sum", "gain"], ["gained"], "bn/mul"))
    graph.graph.node.insert(index + 1, helper.make_node("Add", ["gained", "shift"], ["normal"], "bn/add"))
    graph.graph.initializer.append(numpy_helper.from_array(np.full((1, 3, 1, 1), 2, np.float32), "gain"))
    graph.graph.initializer.append(numpy_helper.from_array(np.full((1, 3, 1, 1), 0.1, np.float32), "shift"))
    from whycam.bundle import revise

    bundle = revise(Bundle.open(conv), {"features.onnx": graph.SerializeToString()})

    network = read_network(bundle)

    assert not {"Add", "BatchNormalization"} & {node.op_type for node in network.model.graph.node}
    assert [layer.name for layer in network.layers] == list(conv_bundle.LAYERS)


def test_layers_are_called_as_in_the_model() -> None:
    def name(node: str, weights: str = "w") -> str:
        return layer_name(helper.make_node("Conv", ["x", weights], ["y"], node))

    assert name("lower/functional_1_1/block1_conv1_1/convolution") == "block1_conv1"
    assert name("StatefulPartitionedCall/vgg19_1/block5_conv4_1/convolution") == "block5_conv4"
    assert name("lower/Conv__130", "lower/functional_6_1/Conv1_1/convolution/merged_input:0") == "Conv1"
    assert name("upper/MatMul_3") == "upper/MatMul_3"


def test_a_network_without_weights_is_refused(bundle: Path) -> None:
    with pytest.raises(CalibrationError, match="nothing to quantize"):
        read_network(Bundle.open(bundle))


def test_fp16_keeps_inputs_and_outputs_as_they_are(manifest: Manifest) -> None:
    network = network_of(conv_bundle.network())

    content = halve(network, ())

    model = opened(content)
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert {out.type.tensor_type.elem_type for out in model.graph.output} == {TensorProto.FLOAT}
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert {kind for name, kind in weights.items() if name.endswith("kernel")} == {TensorProto.FLOAT16}
    assert weights["white"] == TensorProto.FLOAT
    features, (maps,) = Extractor(content, manifest)(IMAGES)
    assert features == pytest.approx(Expected(IMAGES).features, abs=1e-3)
    assert maps == pytest.approx(Expected(IMAGES).maps, abs=1e-3)


def test_what_half_precision_cannot_hold_stays_in_float32_and_is_never_cast(manifest: Manifest) -> None:
    network = network_of(conv_bundle.network(outlier=1e6))
    ranges = collect_ranges(network, IMAGES, "minmax", silent)

    unsafe = unsafe_nodes(network, ranges)
    content = halve(network, unsafe)

    scopes = {name.split("/")[2] for name in unsafe}
    assert scopes == {"spread_1", "gather_1"}
    assert "values up to" in unsafe["lower/model_1/gather_1/convolution"]
    model = opened(content)
    large = {"lower/model_1/spread_1/sum", "spreaded"}
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    assert not [node for node in casts if large & {*node.input, *node.output}]
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert weights["lower/model_1/spread_1/kernel"] == TensorProto.FLOAT
    assert weights["lower/model_1/stem_1/kernel"] == TensorProto.FLOAT16
    features, _ = Extractor(content, manifest)(IMAGES)
    assert features == pytest.approx(Expected(IMAGES).features, abs=1e-3)


def test_weights_that_half_precision_would_lose_stay_in_float32() -> None:
    graph = conv_bundle.network()
    for tensor in graph.graph.initializer:
        if tensor.name.endswith("stem_1/kernel"):
            tiny = 1e-6 * numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(tiny, tensor.name))

    unsafe = unsafe_nodes(network_of(graph), {})

    assert unsafe == {"lower/model_1/stem_1/convolution": "weights within 1e-06"}
