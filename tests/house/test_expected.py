"""The rates expected on Jetsons: what is counted, what is published, and the page that says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from bench.expected import PAGE, PICTURE, renewed
from bench.jetsons import AGX_ORIN, AGX_THOR, DEVICES, NANO, ORIN_NANO, ORIN_NANO_SUPER, PUBLISHED, Device
from bench.layers import Layer, count
from bench.roofline import (
    LARGE,
    LIGHT,
    NETWORKS,
    PAPER,
    Network,
    counts,
    memory,
    rates,
    seconds_at_roof,
    share,
    shares,
)

VGG19 = ((2, 64, 224), (2, 128, 112), (4, 256, 56), (4, 512, 28), (4, 512, 14))
"""Convolutions, channels and side of each block: Simonyan and Zisserman 2015, configuration E."""
VGG19_PRODUCTS = 19_508_428_800
"""Of its convolutions at 224 x 224; 19.6 x 10^9 with its classifier."""

Shape = Sequence[int | str]


def graph(
    nodes: list[onnx.NodeProto], inputs: dict[str, Shape], weights: dict[str, Sequence[int]], *outputs: str
) -> onnx.ModelProto:
    """A model of `nodes`, its weights nought."""
    made = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            helper.make_tensor(name, TensorProto.FLOAT, shape, bytes(4 * _size(shape)), raw=True)
            for name, shape in weights.items()
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _size(shape: Sequence[int]) -> int:
    size = 1
    for each in shape:
        size *= each
    return size


@pytest.mark.parametrize(
    ("node", "inputs", "weights", "layer"),
    [
        (
            helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1]),
            {"x": ("N", 3, 8, 8)},
            {"w": (5, 3, 3, 3), "b": (5,)},
            Layer("Conv", 5 * 4 * 4 * 3 * 9, 5 * 3 * 9 + 5, 3 * 8 * 8 + 5 * 4 * 4),
        ),
        (
            helper.make_node("Conv", ["x", "w"], ["y"], group=6, pads=[1, 1, 1, 1]),
            {"x": ("N", 6, 8, 8)},
            {"w": (6, 1, 3, 3)},
            Layer("Conv", 6 * 8 * 8 * 9, 6 * 9, 2 * 6 * 8 * 8),
        ),
        (
            helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
            {"x": ("N", 3, 4, 4)},
            {"w": (3, 5, 2, 2)},
            Layer("ConvTranspose", 3 * 4 * 4 * 5 * 4, 3 * 5 * 4, 3 * 4 * 4 + 5 * 8 * 8),
        ),
        (
            helper.make_node("MatMul", ["x", "w"], ["y"]),
            {"x": ("N", 7, 11)},
            {"w": (11, 13)},
            Layer("MatMul", 7 * 11 * 13, 11 * 13, 7 * 11 + 7 * 13),
        ),
        (
            helper.make_node("Gemm", ["x", "w"], ["y"], transA=1),
            {"x": (11, "N")},
            {"w": (11, 13)},
            Layer("Gemm", 11 * 13, 11 * 13, 11 + 13),
        ),
        (
            helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=5),
            {"x": (20, "N", 7)},
            {"w": (1, 15, 7), "r": (1, 15, 5)},
            Layer("GRU", 20 * 15 * (7 + 5), 15 * (7 + 5), 20 * 7 + 20 * 5),
        ),
        (
            helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=5, direction="bidirectional"),
            {"x": (20, "N", 7)},
            {"w": (2, 20, 7), "r": (2, 20, 5)},
            Layer("LSTM", 20 * 2 * 20 * (7 + 5), 2 * 20 * (7 + 5), 20 * 7 + 20 * 2 * 5),
        ),
    ],
    ids=["Conv", "depthwise Conv", "ConvTranspose", "MatMul", "Gemm", "GRU", "LSTM"],
)
def test_a_layer_is_counted_as_by_hand(
    node: onnx.NodeProto, inputs: dict[str, Shape], weights: dict[str, Sequence[int]], layer: Layer
) -> None:
    found = count(graph([node], inputs, weights, "y"))

    assert found.layers == (layer,)
    assert found.parameters == layer.weights


def test_weights_do_not_grow_with_the_batch() -> None:
    model = graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": ("N", 11)}, {"w": (11, 13)}, "y")

    one, four = (count(model, batch).layers[0] for batch in (1, 4))

    assert (four.products, four.weights) == (4 * one.products, one.weights)
    assert four.activations == 4 * one.activations


def test_what_comes_from_constants_alone_is_a_weight_and_no_node() -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["y"]),
    ]

    found = count(graph(nodes, {"x": (2, 3)}, {"w": (5, 3)}, "y"))

    assert found.nodes == 1
    assert found.layers == (Layer("MatMul", 2 * 3 * 5, 15, 6 + 10),)


def test_a_layer_whose_shape_is_not_known_is_not_counted_as_nothing() -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["places"]), helper.make_node("Cast", ["places"], ["z"], to=1)]
    nodes.append(helper.make_node("MatMul", ["w", "z"], ["y"]))

    with pytest.raises(KeyError, match="y"):
        count(graph(nodes, {"x": (2, 3)}, {"w": (5, 2)}, "y"))


def test_vgg19_has_as_many_multiply_adds_as_the_literature_says() -> None:
    by_hand = 0
    channels = 3
    for convolutions, width, side in VGG19:
        for _ in range(convolutions):
            by_hand += side * side * 9 * channels * width
            channels = width

    assert by_hand == VGG19_PRODUCTS
    assert counts()[LARGE.title].graphs["features"].products == VGG19_PRODUCTS
    assert counts()[PAPER.title].graphs["features"].products * 4 == VGG19_PRODUCTS


def test_mobilenet_has_as_many_multiply_adds_as_its_authors_say() -> None:
    # Sandler et al. 2018: 300 x 10^6 with the classifier, which a bundle has not.
    assert counts()[LIGHT.title].graphs["features"].products == pytest.approx(300e6, rel=0.01)


def test_the_bench_counts_the_same_network_alike(repository: Path) -> None:
    results = json.loads((repository / "bench" / "results.json").read_text(encoding="utf-8"))

    assert results["limits"]["operations_of_a_frame"] == 2 * counts()[PAPER.title].graphs["features"].products


def test_the_peaks_are_those_that_are_published() -> None:
    peaks = {
        (NANO.name, "fp16"): 0.472,
        (ORIN_NANO.name, "fp16"): 10,
        (ORIN_NANO.name, "int8"): 20,
        (ORIN_NANO_SUPER.name, "fp16"): 17,
        (ORIN_NANO_SUPER.name, "int8"): 33,
        (AGX_ORIN.name, "int8"): 170 / 2,
        (AGX_THOR.name, "fp16"): 517 / 2,
        (AGX_THOR.name, "int8"): 1035 / 2,
    }
    found = {(device.name, name): peak / 1e12 for device in DEVICES for name, peak in device.peak.items()}

    assert {key: found[key] for key in peaks} == pytest.approx(peaks, rel=0.03)


def test_a_layer_takes_the_longer_of_arithmetic_and_memory() -> None:
    arithmetic, reading = Layer("Conv", 10**9, 1, 1), Layer("MatMul", 1, 10**9, 1)

    assert seconds_at_roof([arithmetic], NANO, "fp16") == pytest.approx(2e9 / NANO.peak["fp16"])
    assert seconds_at_roof([reading], NANO, "fp16") == pytest.approx(2e9 / NANO.bandwidth)
    assert seconds_at_roof([arithmetic], NANO, "fp16", batch=4) == pytest.approx(8e9 / NANO.peak["fp16"])
    assert seconds_at_roof([reading], NANO, "fp16", batch=4) == pytest.approx(2e9 / NANO.bandwidth)


def test_no_published_run_is_faster_than_its_roof() -> None:
    assert [run for run in PUBLISHED if not 0 < share(run) < 1] == []


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.title)
def test_estimates_are_ranges_below_the_roof(network: Network, device: Device) -> None:
    cnn = counts()[network.title].graphs["features"].layers
    for precision in ("fp16", "int8"):
        if precision not in device.peak:
            continue
        least, most = shares(network is LIGHT, device, precision)
        found = rates(network, device, precision)

        assert 0 < least <= most < 1
        assert all(0 < rate.least < rate.most for rate in found.values())
        assert found["frames"].most == pytest.approx(most / seconds_at_roof(cnn, device, precision))
        assert found["decisions"].most < found["frames"].most
        assert found["window"].most < found["newest"].most
        assert sum(memory(network, precision)) < device.memory


def test_the_page_has_the_tables_that_the_program_writes() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert renewed(page) == page
    assert PICTURE.is_file()


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for counts"):
        renewed("# Jetson\n")
