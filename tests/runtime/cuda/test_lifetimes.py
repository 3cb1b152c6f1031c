"""Memory and streams of a device: whose they are, for how long, and that they do not become more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gpu_stub
import numpy as np
import pytest
import tiny_bundle
from tiny_bundle import SIZE, T

from tests.runtime.cuda.host_device import HostDevice
from whycam.bundle import Bundle
from whycam.cuda.array import Pool, in_place
from whycam.cuda.device import Device
from whycam.detect import Detector, Model, model
from whycam.detect.scorer import DeviceStepScorer


def a_model(path: Path, device: Device, **options: Any) -> Model:
    on = ["cpu"] if isinstance(device, HostDevice) else ["cuda"]
    return Model(Bundle.open(path), providers=on, device=device, **options)


def test_a_pool_leaves_its_memory_to_the_next(device: Device) -> None:
    first = Pool(device)
    addresses = {first.array(np.zeros(size, np.float32)).address for size in (5, 5000)}
    kept = first.array(np.arange(100, dtype=np.float32))
    del first
    # Somebody has an array of it still.
    second = Pool(device.beside())
    assert kept.address not in {second.empty((100,)).address for _ in range(3)}
    assert np.asarray(kept).tolist() == list(range(100))
    del kept, second
    third = Pool(device)
    assert {third.empty((size,)).address for size in (5, 5000)} <= addresses | {third.empty((100,)).address}


def test_models_that_come_and_go_take_no_more_memory(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = HostDevice()
    places: list[set[int]] = []
    reserve = device.reserve

    def noted(size: int) -> int:
        address = reserve(size)
        places[-1].add(address)
        return address

    monkeypatch.setattr(device, "reserve", noted)
    for _ in range(3):
        places.append(set())
        detector = Detector(a_model(bundle, device))
        for frame in np.zeros((2 * T, 40, 30, 3), np.uint8):
            detector.push(frame)
        del detector
    assert places[0]
    assert places[1] | places[2] <= places[0]


def test_detectors_that_come_and_go_take_no_more_memory_and_recordings(bundle: Path, device: Device) -> None:
    shared = a_model(bundle, device)
    frames = np.random.default_rng(0).integers(0, 256, (T, SIZE, SIZE, 3), np.uint8)
    numbers, scores, reserved = set(), [], []
    for _ in range(4):
        detector = Detector(shared)
        decisions = [detector.push(frame) for frame in frames]
        assert decisions[-1] is not None
        scores.append(decisions[-1].scores)
        assert isinstance(detector._scorer, DeviceStepScorer)
        numbers.add(detector._scorer._places.number)
        assert shared.pool is not None
        reserved.append(shared.pool.reserved)
        del detector
    assert len(numbers) == 1
    assert reserved[1:] == reserved[:1] * 3
    assert scores[1:] == scores[:1] * 3


def test_a_picture_that_is_on_the_device_is_not_copied(bundle: Path, device: Device) -> None:
    # A copy would be made in the stream of the frames, and the model's does not wait for that.
    detector = Detector(a_model(bundle, device))
    seen = detector.model.see(np.zeros((40, 30, 3), np.uint8))
    due = detector.take(seen)
    assert due is not None
    assert due.image is seen


def test_arrays_are_joined_in_place_where_a_graph_may_begin_to_read_alone(device: Device) -> None:
    pool = Pool(device)
    for length, joined in ((3, False), (4, True)):
        ring = pool.empty((4, length))
        assert in_place([ring[0], ring[1]]) is not None
        assert (in_place([ring[1], ring[2]]) is not None) == joined


def test_a_model_beside_another_works_in_the_stream_of_the_features_that_they_share(
    built_bundle: Path, tmp_path: Path, gpu: gpu_stub.Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[HostDevice] = []

    def another() -> HostDevice:
        devices.append(HostDevice())
        devices[-1].stream = len(devices)
        return devices[-1]

    monkeypatch.setattr(model, "cuda_device", another)
    first = Model(Bundle.open(built_bundle), providers=["cuda"])
    second = Model(Bundle.open(tiny_bundle.build(tmp_path / "other.whycam")), providers=["cuda"], beside=first)
    assert second.shares_features(first)
    second.open_explainer()
    streams = {providers[0][1]["user_compute_stream"] for _, providers in gpu.opened}
    assert streams == {"1"}
    assert second.pool is first.pool
