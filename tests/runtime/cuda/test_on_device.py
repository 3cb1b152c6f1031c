"""The whole way of a frame in a device's memory: what is decided and explained there, and what leaves it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
from tiny_bundle import CLASSES

from tests.runtime.cuda.host_device import HostDevice
from whycam.bundle import Bundle
from whycam.cuda import kernels
from whycam.cuda.array import DeviceArray
from whycam.cuda.device import Device
from whycam.detect import Detector, Model
from whycam.detect.scorer import DeviceStepScorer
from whycam.explain import METHODS, TIME_METHODS

STEP, WINDOW = "step", "window"
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (40, 200, 90))


def frames(count: int) -> list[np.ndarray]:
    """Noise over colours: no two frames are the same, and neither are their places."""
    random = np.random.default_rng(0)
    return [
        np.clip(np.array(COLOURS[index % len(COLOURS)]) + random.integers(-40, 40, (8, 8, 3)), 0, 255).astype(np.uint8)
        for index in range(count)
    ]


@pytest.fixture(params=[STEP, WINDOW])
def pair(request: pytest.FixtureRequest, tmp_path: Path, device: Device) -> tuple[Detector, Detector]:
    """A detector on the host and one on a device, over the step graph or over the head."""
    bundle = Bundle.open(tiny_bundle.build(tmp_path / "tiny.whycam", step=request.param == STEP))
    on = ["cpu"] if isinstance(device, HostDevice) else ["cuda"]
    return Detector(Model(bundle, providers=["cpu"])), Detector(Model(bundle, providers=on, device=device))


def read(detector: Detector) -> int:
    """Bytes that were copied to the host, beside the outputs that ONNX Runtime itself gives there."""
    assert detector.model.pool is not None
    return detector.model.pool.read


def off(detector: Detector) -> float:
    """How far what it computes may be from the host's: a GPU adds up in another order."""
    assert detector.model.pool is not None
    return 1e-6 if isinstance(detector.model.pool.device, HostDevice) else 2e-5


def test_the_decisions_are_those_of_the_host(pair: tuple[Detector, Detector]) -> None:
    host, device = pair
    for index, frame in enumerate(frames(40)):
        # A frame that is missing, a gap, and one in which nothing moves.
        time = index * 0.1 + (0.1 if index > 12 else 0) + (10 if index > 20 else 0)
        wanted, got = (each.push(frame, time, still=index == 16) for each in (host, device))
        assert wanted is not None
        assert got is not None
        assert got.warm == wanted.warm
        assert list(got.scores.values()) == pytest.approx(list(wanted.scores.values()), abs=off(device), nan_ok=True)
    assert isinstance(device.newest.features, DeviceArray)


def test_a_decision_brings_nothing_but_scores_to_the_host(pair: tuple[Detector, Detector]) -> None:
    _, detector = pair
    decisions = [detector.push(frame, index * 0.1) for index, frame in enumerate(frames(30))]
    warm = sum(decision is not None and decision.warm for decision in decisions)
    # The window's graph gives its logits and scores to the host itself.
    by_step = isinstance(detector._scorer, DeviceStepScorer)
    assert read(detector) == (warm * 2 * len(CLASSES) * 4 if by_step else 0)


@pytest.mark.parametrize("usual", [False, True])
@pytest.mark.parametrize("method", [name for name in METHODS if name != "attention"])
def test_every_method_shows_the_same_from_the_device(pair: tuple[Detector, Detector], method: str, usual: bool) -> None:
    host, detector = pair
    for index, frame in enumerate(frames(30)):
        for each in (host, detector):
            # The window that is explained holds a frame for two slots.
            each.push(frame, index * 0.1 + (0.1 if index > 27 else 0))
    reference = "usual" if usual else "none"
    before = read(detector)
    wanted, got = (each.explain(method, "fight", "normal", reference=reference) for each in (host, detector))
    largest = float(wanted.heatmaps.max())
    assert largest > 0
    assert np.abs(got.heatmaps - wanted.heatmaps).max() <= 2 * off(detector) * largest
    assert got.relevance == pytest.approx(wanted.relevance, abs=off(detector))
    if method in kernels.METHODS:
        assert read(detector) - before == got.heatmaps.nbytes


@pytest.mark.parametrize("time", [name for name in TIME_METHODS if name != "attention"])
def test_every_method_in_time_says_the_same_from_the_device(pair: tuple[Detector, Detector], time: str) -> None:
    host, detector = pair
    for frame in frames(12):
        host.push(frame)
        detector.push(frame)
    wanted, got = (each.explain("grad-cam", "fire", frames=2, time=time) for each in (host, detector))
    assert got.explained == wanted.explained
    assert got.relevance == pytest.approx(wanted.relevance, abs=off(detector))


def test_a_window_that_is_explained_later_stays_as_it_was(pair: tuple[Detector, Detector]) -> None:
    host, detector = pair
    stream = frames(40)
    for frame in stream[:10]:
        host.push(frame)
        detector.push(frame)
    kept, later = host.snapshot(), detector.snapshot()
    for frame in stream[10:]:
        detector.push(frame)
    wanted, got = host.model.explain(kept, "hirescam", "fight"), detector.model.explain(later, "hirescam", "fight")
    assert np.abs(got.heatmaps - wanted.heatmaps).max() <= 2 * off(detector) * wanted.heatmaps.max()


def test_memory_stays_what_it_was(pair: tuple[Detector, Detector]) -> None:
    _, detector = pair
    pool = detector.model.pool
    assert pool is not None

    def watch() -> int:
        for frame in frames(100):
            if detector.push(frame).warm:
                detector.explain("grad-cam", "fight", frames=1)
        return pool.reserved

    assert watch() == watch()


def test_frames_of_several_cameras_go_through_the_cnn_at_once(pair: tuple[Detector, Detector]) -> None:
    host, detector = pair
    second = Detector(detector.model)
    stream = frames(24)
    for first, other in zip(stream[::2], stream[1::2], strict=True):
        wanted = host.push(first)
        taken = [detector.take(first), second.take(other)]
        dues = [due for due in taken if due is not None]
        samples = detector.model.samples([due.image for due in dues], [due.time for due in dues])
        Detector.step_together([detector, second], samples)
        got = detector.decide(dues[0], samples[0])
        second.decide(dues[1], samples[1])
        assert wanted is not None
        assert list(got.scores.values()) == pytest.approx(list(wanted.scores.values()), abs=off(detector), nan_ok=True)
