"""How the cost of a decision grows: with the window, the GRU, the picture and the cameras; slopes are fitted.

whycam, whycam-int8   `Detector.push` of a new frame
window                the extractor on all frames of the window and a plain session of the head over them, fp32
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.network import Network
from bench.sessions import plain_session
from bench.variants import variant
from bench.workers import Worker, in_process, interleaved, spread

AXES = {
    "frames": ("window length T, frames", "frame"),
    "units": ("GRU units", "unit"),
    "side": ("side of the picture, pixels", "pixel"),
    "cameras": ("cameras on one model", "camera"),
}
"""Their titles, and what a slope is per."""
FULL = {
    "frames": (5, 10, 20, 40, 80),
    "units": (128, 256, 512, 1024, 2048),
    "side": (64, 96, 128, 160, 224),
    "cameras": (1, 2, 4, 8, 16),
}
QUICK = {"frames": (3, 6, 12), "units": (32, 64, 128), "side": (64, 96, 128), "cameras": (1, 2, 4)}


class Bundles:
    """Detectors of bundles that differ in one thing, by its value."""

    def __init__(self, bundles: dict[int, Path], windows: bool) -> None:
        """With `windows`, also the way over the whole window."""
        import whycam

        self._acts: dict[str, Callable[[], Any]] = {}
        self._slow: dict[str, Callable[[], Any]] = {}
        for value, path in bundles.items():
            for name, precision in (("whycam", "fp32"), ("whycam-int8", "int8")):
                detector = whycam.load(path, precision, providers=["cpu"])
                side, length = detector.manifest.input.width, detector.manifest.window.frames
                images = np.random.default_rng(0).integers(0, 256, (length, side, side, 3), dtype=np.uint8)
                for image in images:
                    detector.push(image)
                self._acts[f"{name} {value}"] = partial(detector.push, image)
                if windows and precision == "fp32":
                    model, head = detector.model, plain_session(path / "head.onnx")
                    self._slow[f"window {value}"] = lambda model=model, head=head, images=images: head.run(
                        None, {"window": model.extract(images)[0][None]}
                    )

    def run(self, rounds: int) -> dict[str, list[float]]:
        """Seconds of a decision in each way; of the slow ones, a few."""
        return {**interleaved(self._acts, rounds), **interleaved(self._slow, max(1, rounds // 5))}


class Cameras:
    """Detectors that share a model, a camera each, served as the service does those that are due at once."""

    def __init__(self, bundle: Path, precision: str, counts: Sequence[int]) -> None:
        import whycam
        from whycam.bench.cameras import decide_together
        from whycam.detect import Detector

        model = whycam.load(bundle, precision, providers=["cpu"]).model
        size, length = model.manifest.input, model.manifest.window.frames
        images = np.random.default_rng(0).integers(0, 256, (length, size.height, size.width, 3), dtype=np.uint8)
        self._detectors = [Detector(model) for _ in range(max(counts))]
        self._images = itertools.cycle(images)
        for image in images:
            decide_together(self._detectors, [image] * len(self._detectors))
        self._counts = counts
        self._decide = decide_together

    def run(self, rounds: int) -> dict[int, list[float]]:
        """Seconds of a decision of each camera, for each count of cameras, in turn."""
        seconds: dict[int, list[float]] = {count: [] for count in self._counts}
        for index in range(rounds + 1):
            for count in self._counts:
                frames = [next(self._images) for _ in range(count)]
                start = time.perf_counter()
                self._decide(self._detectors[:count], frames)
                if index:
                    seconds[count].append((time.perf_counter() - start) / count)
        return seconds


def measure(network: Network, rounds: int, tell: Callable[[str], None], *, quick: bool) -> dict[str, Any]:
    """Measure along each axis; the values of one axis are timed in turn."""
    found = {}
    values = QUICK if quick else FULL
    tell("write bundles of other windows, units and sides")
    bundles = in_process(_bundles, network, values)
    for axis in bundles:
        tell(f"{axis}: {rounds} rounds")
        with Worker(axis, Bundles, bundles[axis], axis == "frames") as worker:
            seconds = worker.ask("run", rounds)
        curves: dict[str, dict[int, list[float]]] = {}
        for key, taken in seconds.items():
            name, _, value = key.rpartition(" ")
            curves.setdefault(name, {})[int(value)] = taken
        found[axis] = {**_axis(axis), "curves": {name: _curve(curve) for name, curve in curves.items()}}
    curves = {}
    for name, precision in (("whycam", "fp32"), ("whycam-int8", "int8")):
        tell(f"cameras: {precision}")
        with Worker("cameras", Cameras, network.bundle, precision, values["cameras"]) as worker:
            curves[name] = worker.ask("run", max(3, rounds // 2))
    found["cameras"] = {
        **_axis("cameras"),
        "curves": {name: _curve(curve) for name, curve in curves.items()},
    }
    return {"rounds": rounds, "axes": found}


def _axis(name: str) -> dict[str, str]:
    title, unit = AXES[name]
    return {"title": title, "unit": unit}


def _bundles(network: Network, values: dict[str, tuple[int, ...]]) -> dict[str, dict[int, Path]]:
    return {
        axis: {value: variant(network, f"{axis}-{value}", "flatten", **{axis: value}) for value in values[axis]}
        for axis in ("frames", "units", "side")
    }


def _curve(curve: dict[int, list[float]]) -> dict[str, Any]:
    """The points, and what was fitted: cost ~ value ** exponent, and cost ~ a + slope * value."""
    values = np.array(sorted(curve), dtype=float)
    medians = np.array([np.median(curve[int(value)]) for value in values])
    exponent, _ = np.polyfit(np.log(values), np.log(medians), 1)
    slope, _ = np.polyfit(values, medians, 1)
    return {
        "values": [int(value) for value in values],
        "seconds": [spread(curve[int(value)]) for value in values],
        "exponent": float(exponent),
        "seconds_per_unit": float(slope),
    }
