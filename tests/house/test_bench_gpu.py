"""The bench of a GPU, tried out on the CPU: what it does, not what it measures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bench import gpu
from bench.jetsons import XAVIER_NX
from tests.calibration import conv_bundle
from tests.runtime.cuda.host_device import HostDevice
from whycam.bundle import Bundle, revise
from whycam_calibration.precision.int8 import PORTABLE, quantize, quantized_values
from whycam_calibration.precision.network import read_network
from whycam_calibration.precision.ranges import collect_ranges


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[str]]:
    """Of a small bundle in all precisions, and what was told meanwhile."""
    bundle = Bundle.open(conv_bundle.build(tmp_path_factory.mktemp("bench") / "conv.whycam"))
    images = conv_bundle.textures(0, 12)
    gpu.add_fp16(bundle, images)
    bundle = Bundle.open(bundle.path)
    plain = read_network(bundle)
    ranges = collect_ranges(plain, images, "minmax", lambda *_: None, values=quantized_values(plain))
    file = "features.int8.onnx"
    content = quantize(plain, ranges, PORTABLE)
    bundle = revise(bundle, {file: content}, precisions={**bundle.manifest.precisions, "int8": file})
    told: list[str] = []
    free = iter(range(10**6, 0, -1000))
    found = gpu.measure(
        bundle, "cpu", 1, told.append, device=HostDevice(), free=lambda: next(free), batches=(1, 4), side=64
    )
    shape = {"frames": 4, "height": 8, "width": 8, "features": 3}
    about = {"quick": True, "card": "none", "published_peak": XAVIER_NX.peak, "network": shape}
    return {**about, "machine": gpu.machine(), **found}, told


def test_each_precision_and_batch_is_measured(measured: tuple[dict[str, Any], list[str]]) -> None:
    results, told = measured
    assert list(results["extractor"]) == list(results["peak"]) == ["fp32", "fp16", "int8"]
    for precision, batches in results["extractor"].items():
        assert list(batches) == ["1", "4"]
        for batch, one in batches.items():
            assert one["memory"] == 1000
            assert one["frames_per_second"] == pytest.approx(int(batch) / one["seconds"]["median"])
            peak = results["peak"][precision]["operations_per_second"]
            assert one["share_of_peak"] == pytest.approx(one["operations_per_second"] / peak)
    # As many as the progress is of.
    assert len(told) == 1 + len(gpu.PRECISIONS) * (1 + 2)


def test_both_paths_decide_and_explain_alike(measured: tuple[dict[str, Any], list[str]]) -> None:
    paths = measured[0]["paths"]
    # A pixel is rounded once on a device, twice on the host: by a level of 255 it may differ.
    assert max(paths["difference"].values()) < 0.02
    # Logits and scores of three classes.
    assert paths["bytes_read_for_a_decision"] == 2 * 3 * 4
    for what in ("decision", "explanation"):
        seconds = paths[what]["seconds"]
        ratio = seconds["host"]["median"] / seconds["device"]["median"]
        assert paths[what]["times_faster"] == pytest.approx(ratio)


def test_the_page_and_the_picture_show_all_of_it(measured: tuple[dict[str, Any], list[str]], tmp_path: Path) -> None:
    results = json.loads(json.dumps(measured[0]))
    text = gpu.page(results)
    assert text.count("\n| fp16 |") == 3
    assert text.count("\n| decision |") == text.count("\n| explanation |") == 1
    assert "a smoke test" in text
    gpu.draw(results, tmp_path / "gpu.png")
    assert np.ptp(cv2.imread(str(tmp_path / "gpu.png"))) > 200


def test_a_published_peak_is_of_the_very_board() -> None:
    assert gpu.published("NVIDIA Jetson Xavier NX Developer Kit") == XAVIER_NX.peak
    # Whether it is in its Super mode is not told.
    assert gpu.published("NVIDIA Jetson Orin Nano Developer Kit") is None
    assert gpu.published("") is None


def test_what_was_not_measured_on_a_gpu_is_not_there(repository: Path) -> None:
    figures = repository / "bench" / "gpu.json"
    assert not figures.exists() or json.loads(figures.read_text())["provider"] == "cuda"
