"""Several threads at one device: those that bring frames, the one that decides, and one that explains."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import SIZE, T

from tests.runtime.cuda.host_device import HostDevice
from whycam.bundle import Bundle
from whycam.cuda.device import Device
from whycam.detect import Detector, Model
from whycam.detect.resize import resize


@pytest.fixture
def pair(bundle: Path, device: Device) -> tuple[Model, Model]:
    """A model on the host and one on a device."""
    opened = Bundle.open(bundle)
    on = ["cpu"] if isinstance(device, HostDevice) else ["cuda"]
    return Model(opened, providers=["cpu"]), Model(opened, providers=on, device=device)


def noise(seed: int, count: int, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def scored(model: Model, frames: np.ndarray) -> list[list[float]]:
    detector = Detector(model)
    decisions = [detector.push(frame) for frame in frames]
    return [list(each.scores.values()) for each in decisions if each is not None and each.warm]


def beside(act: Callable[[], object]) -> tuple[threading.Event, ThreadPoolExecutor, object]:
    """`act` again and again in a thread, until the event is set; the future holds what it raised."""
    ended = threading.Event()
    pool = ThreadPoolExecutor(1)

    def repeat() -> int:
        count = 0
        while not ended.is_set() or count == 0:
            act()
            count += 1
        return count

    return ended, pool, pool.submit(repeat)


def test_frames_come_from_two_threads_while_the_model_runs(pair: tuple[Model, Model]) -> None:
    host, device = pair
    frames = noise(0, 60)
    wanted = scored(host, frames)

    def bring(seed: int) -> float:
        # Of two sizes: each has memory of its own on the way to the device.
        brought = [*noise(seed, 20, 40, 30), *noise(seed, 20, 40 + seed, 30)]
        seen = [np.asarray(device.see(frame)) for frame in brought]
        shrunk = [resize(frame, SIZE, SIZE) for frame in brought]
        return float(np.abs(np.stack(seen).astype(int) - np.stack(shrunk)).max())

    with ThreadPoolExecutor(2) as threads:
        bringing = [threads.submit(bring, seed) for seed in (1, 2)]
        got = scored(device, frames)
        # Rounded once, not twice.
        assert [each.result() <= 1 for each in bringing] == [True, True]
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_a_window_is_explained_in_another_thread_while_frames_go_on(pair: tuple[Model, Model]) -> None:
    host, device = pair
    frames = noise(3, 60)
    windows = []
    for model in pair:
        detector = Detector(model)
        for frame in frames[: 2 * T]:
            detector.push(frame)
        windows.append(detector.snapshot())
    wanted = [host.explain(windows[0], method, "fight", "normal") for method in ("grad-cam", "saliency")]
    going_on = scored(host, frames)

    def explain() -> None:
        for each in wanted:
            found = device.explain(windows[1], each.method, "fight", "normal")
            largest = float(each.heatmaps.max())
            np.testing.assert_allclose(found.heatmaps, each.heatmaps, atol=1e-4 * largest)
            np.testing.assert_allclose(found.relevance, each.relevance, atol=1e-5)

    ended, pool, explaining = beside(explain)
    with pool:
        try:
            got = scored(device, frames)
        finally:
            ended.set()
        explaining.result()
    np.testing.assert_allclose(got, going_on, atol=1e-5)


def test_two_threads_decide_over_one_model(pair: tuple[Model, Model]) -> None:
    host, device = pair
    streams = [noise(seed, 40) for seed in (4, 5)]
    with ThreadPoolExecutor(2) as threads:
        got = list(threads.map(lambda stream: scored(device, stream), streams))
    np.testing.assert_allclose(got, [scored(host, stream) for stream in streams], atol=1e-5)
