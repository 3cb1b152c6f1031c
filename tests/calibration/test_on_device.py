"""What a device decides in each precision, against the host: on a GPU other sums, in the same precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.calibration import conv_bundle
from tests.runtime.cuda.conftest import device
from tests.runtime.cuda.host_device import HostDevice
from tests.runtime.tiny_bundle import T
from whycam.bundle import Bundle, revise
from whycam.cuda.array import DeviceArray
from whycam.cuda.device import Device
from whycam.detect import Detector, Model
from whycam_calibration.precision.fp16 import halve
from whycam_calibration.precision.int8 import PORTABLE, quantize, quantized_values
from whycam_calibration.precision.network import read_network
from whycam_calibration.precision.ranges import collect_ranges

__all__ = ["device"]

TOLERANCES = {
    # Sums of a few hundred float32 in another order, TF32 being off.
    "fp32": 1e-5,
    # A value keeps 11 bits. A GPU adds up in float32 and rounds the sum; the CPU rounds what stands before it: one last
    # place, 2^-11, in each of three layers, then squared, and weighed by up to 9 in a logit.
    "fp16": 3 * 2 * 9 * 2.0**-11,
    # The same whole numbers but where a value lies between two of them: one of 127 steps of a layer's range in some
    # places, of the mean of 16; squared, and weighed by up to 9.
    "int8": 2 * 9 / 127,
}
"""Of a score: what it may differ at most, for a score moves by less than its logit does."""


@pytest.fixture
def conv_in_all(conv: Path) -> Path:
    """In float32, half precision and whole numbers; in the GPU's form alone, which the CPU runs too."""
    plain = read_network(Bundle.open(conv))
    frames = conv_bundle.textures(0, 12)
    ranges = collect_ranges(plain, frames, "minmax", lambda *_: None, values=quantized_values(plain))
    files = {"features.fp16.onnx": halve(plain, ()), "features.int8.onnx": quantize(plain, ranges, PORTABLE)}
    bundle = Bundle.open(conv)
    added = {"fp16": "features.fp16.onnx", "int8": "features.int8.onnx"}
    revise(bundle, files, precisions={**bundle.manifest.precisions, **added})
    return conv


@pytest.mark.parametrize("precision", TOLERANCES)
def test_a_device_decides_as_the_host_does(conv_in_all: Path, device: Device, precision: str) -> None:
    bundle = Bundle.open(conv_in_all)
    on = ["cpu"] if isinstance(device, HostDevice) else ["cuda"]
    host, there = Model(bundle, precision, ["cpu"]), Model(bundle, precision, on, device=device)
    assert there.session.get_providers()[0].startswith("CPU" if on == ["cpu"] else "CUDA")
    detectors = [Detector(host), Detector(there)]
    scores = []
    for frame in conv_bundle.textures(1, 4 * T):
        decisions = [each.push(frame) for each in detectors]
        scores.append([list(each.scores.values()) for each in decisions if each is not None and each.warm])
    assert isinstance(detectors[1].newest.features, DeviceArray)
    wanted, got = np.array([each for each in scores if each]).swapaxes(0, 1)
    assert len(wanted) == 3 * T + 1
    np.testing.assert_allclose(got, wanted, atol=TOLERANCES[precision])

    explained = [each.explain("grad-cam", "fight", "normal") for each in detectors]
    largest = float(explained[0].heatmaps.max())
    np.testing.assert_allclose(
        explained[1].heatmaps, explained[0].heatmaps, atol=max(TOLERANCES[precision], 1e-5) * largest
    )
