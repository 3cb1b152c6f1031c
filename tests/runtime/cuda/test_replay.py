"""A step that is recorded once for each window, and replayed: each window keeps its own states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tiny_bundle import SIZE, T

from tests.runtime.cuda.host_device import HostDevice
from whycam.bundle import Bundle
from whycam.cuda.device import Device
from whycam.detect import Detector, Model


def test_windows_that_take_turns_over_one_step_decide_as_each_does_alone(bundle: Path, device: Device) -> None:
    opened = Bundle.open(bundle)
    on_host = isinstance(device, HostDevice)
    shared = Model(opened, providers=["cpu"] if on_host else ["cuda"], device=device)
    assert shared._step is not None
    assert shared._step.captured == (not on_host)
    random = np.random.default_rng(0)
    streams = random.integers(0, 256, (3, 6 * T, SIZE, SIZE, 3), np.uint8)
    detectors = [Detector(shared) for _ in streams]
    alone = [Detector(Model(opened, providers=["cpu"])) for _ in streams]

    def push(each: Detector, frame: np.ndarray, index: int) -> list[float]:
        # A gap: the window starts anew, with states of nought at the places that were recorded.
        decision = each.push(frame, index * 0.1 + (10 if index >= 3 * T else 0))
        assert decision is not None
        return list(decision.scores.values())

    got, wanted = (
        [
            [push(each, frames[index], index) for each, frames in zip(those, streams, strict=True)]
            for index in range(6 * T)
        ]
        for those in (detectors, alone)
    )
    assert np.isfinite(wanted[-1]).all()
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    numbers = {each._scorer._places.number for each in detectors}  # type: ignore[attr-defined]  # that of a device
    assert len(numbers) == len(streams)
