"""Ranges of a network's values, by each method, in bounded memory."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.calibration import conv_bundle
from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.network import Network, network_of
from whycam_calibration.precision.progress import silent
from whycam_calibration.precision.ranges import METHODS, Method, collect_ranges

IMAGES = np.concatenate([conv_bundle.textures(seed, 4) for seed in range(10)])
BYTES = 4 * (64 * 3 * 3 + 64 * 4 * 2 + 16 * 3 * 3)
"""More or less what the values of one frame take."""


@pytest.fixture
def network() -> Network:
    return network_of(conv_bundle.network())


def test_minmax_is_the_lowest_and_highest_of_all_frames(network: Network) -> None:
    ranges = collect_ranges(network, IMAGES, "minmax", silent)

    assert ranges["planes"] == pytest.approx((IMAGES.min() / 255, IMAGES.max() / 255))
    assert set(ranges) >= {"planes", "stemmed", "spreaded", "maps"}
    assert "white" not in ranges


@pytest.mark.parametrize("method", METHODS)
def test_collecting_in_strides_gives_what_collecting_at_once_gives(network: Network, method: Method) -> None:
    values = frozenset({"planes", "spreaded", "maps"})

    at_once = collect_ranges(network, IMAGES, method, silent, values=values, stride_bytes=1 << 30)
    in_strides = collect_ranges(network, IMAGES, method, silent, values=values, stride_bytes=3 * BYTES)

    assert set(in_strides) == values
    for name in values:
        # Histograms that grow have edges of their own.
        assert in_strides[name] == pytest.approx(at_once[name], abs=0.03 * at_once[name][1])


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_no_more_frames_are_held_than_the_limit_allows(
    network: Network, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxruntime.quantization.calibrate import HistogramCollector

    held = []
    collect = HistogramCollector.collect
    monkeypatch.setattr(
        HistogramCollector,
        "collect",
        lambda self, values: (
            held.append(sum(a.nbytes for each in values.values() for a in each)),
            collect(self, values),
        ),
    )

    collect_ranges(network, IMAGES, method, silent, stride_bytes=4 * BYTES)

    assert max(held) <= 4 * BYTES
    assert len(held) > 5


def test_one_outlier_widens_minmax_and_not_percentile(network: Network) -> None:
    images = np.full((400, 8, 8, 3), 50, np.uint8)
    images[0, 0, 0, 0] = 255

    by_minmax = collect_ranges(network, images, "minmax", silent)["planes"]
    by_percentile = collect_ranges(network, images, "percentile", silent, values=frozenset({"planes"}))["planes"]

    assert by_minmax[1] == pytest.approx(1)
    assert by_percentile[1] < 0.25


@pytest.mark.filterwarnings("ignore:All-NaN axis")
def test_a_value_that_is_not_finite_is_named() -> None:
    graph = conv_bundle.network()
    for tensor in graph.graph.initializer:
        if tensor.name == "white":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32(0), "white"))

    with pytest.raises(CalibrationError, match="is not finite on this footage"):
        collect_ranges(network_of(graph), IMAGES[:2], "minmax", silent)
