"""Seconds per explanation: whycam against Keras's GradientTape, on the same windows, asked in turn.

A window has just been scored, as in the service: whycam has its features and maps, Keras has its frames. All must
agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.network import CLASSES, Network
from bench.peers.keras_tape import KerasTape
from bench.workers import PAUSE, Workers, spread

LABEL = CLASSES[0]
TOLERANCES = {"grad-cam": 1e-3, "saliency": 1e-2}
"""Error of a window's heat maps relative to their maximum, and of its saliency relative to its norm, as at export.

Half of the windows must keep within it: in the others rounding may decide a ReLU otherwise in one way than in another,
and the gradient jumps."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Question:
    """What is explained."""

    name: str
    title: str
    method: str
    paper_layer: bool = False
    frames: int | str = "all"
    """How many of the most relevant frames get a heat map; Keras has no way to leave the others out."""


QUESTIONS = (
    Question("grad-cam-paper", "Grad-CAM at the paper's layer", "grad-cam", paper_layer=True),
    Question("grad-cam", "Grad-CAM at whycam's default layer", "grad-cam"),
    Question("saliency", "saliency of all frames", "saliency"),
    Question("saliency-top-3", "saliency of the 3 most relevant", "saliency", frames=3),
)


class WhycamExplainer:
    """A bundle's model, and a window that it has scored."""

    def __init__(self, bundle: Path, precision: str) -> None:
        from whycam.bundle import Bundle
        from whycam.detect import Model

        self._model = Model(Bundle.open(bundle), precision, providers=["cpu"])
        self._window: Any = None

    def score(self, frames: NDArray[np.uint8]) -> None:
        """Take a window, uint8 [T, H, W, 3]."""
        self._window = self._model.snapshot(frames)

    def explain(self, method: str, which: Any) -> Array:
        """Heat maps f32 [n, h, w] of the window's frames `which`."""
        made = self._model.explain(self._window, method, LABEL, frames=which, time="relevance", reference="none")
        return made.heatmaps[list(made.explained)]

    def cam_layer(self) -> str:
        """Where the maps come from."""
        return self._model.manifest.cams[0].name


def measure(network: Network, windows: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Time each explanation of `windows` windows, in turn."""
    seconds: dict[str, dict[str, list[float]]] = {one.name: {} for one in QUESTIONS}
    errors: dict[str, list[float]] = {one.name: [] for one in QUESTIONS}
    length = network.shape.frames
    with Workers() as workers:
        tell("start whycam")
        default = workers.start("whycam", WhycamExplainer, network.bundle, "fp32")
        paper = workers.start("whycam-paper", WhycamExplainer, network.paper_layer, "fp32")
        int8 = workers.start("whycam-int8", WhycamExplainer, network.bundle, "int8")
        layers = {False: default.ask("cam_layer"), True: paper.ask("cam_layer")}
        tell("start Keras")
        keras = workers.start("keras", KerasTape, network.model, tuple(layers.values()), CLASSES.index(LABEL))
        # The first window compiles and allocates: it is not timed.
        for index in range(windows + 1):
            tell(f"window {index} of {windows}")
            frames = network.images(length, seed=100 + index)
            for worker in (default, paper, int8):
                worker.ask("score", frames)

            def timed(question: Question, way: str, worker: Any, method: str, *given: Any, index: int = index) -> Array:
                time.sleep(PAUSE)
                took, found = worker.timed(method, *given)
                if index:
                    seconds[question.name].setdefault(way, []).append(took)
                return np.asarray(found)

            for one in QUESTIONS:
                whycam = paper if one.paper_layer else default
                found = timed(one, "whycam", whycam, "explain", one.method, one.frames)
                if not one.paper_layer:
                    timed(one, "whycam-int8", int8, "explain", one.method, one.frames)
                if one.frames != "all":
                    continue
                wanted = [
                    timed(one, way, keras, "explain", way, one.method, layers[one.paper_layer], frames)
                    for way in ("keras", "compiled")
                ]
                errors[one.name].append(max(_difference(one.method, found, each) for each in wanted))
    _share(seconds, "saliency", "saliency-top-3")
    errors["saliency-top-3"] = errors["saliency"]
    rows = {one.name: _row(one, seconds[one.name], errors[one.name], layers[one.paper_layer]) for one in QUESTIONS}
    disagree = [
        f"{name} by {row['error']['median']:.1e}, more than {TOLERANCES[row['method']]:.0e}"
        for name, row in rows.items()
        if not row["error"]["median"] <= TOLERANCES[row["method"]]
    ]
    return {"windows": windows, "explanations": rows, "disagree": disagree}


def _share(seconds: dict[str, dict[str, list[float]]], source: str, to: str) -> None:
    """Keras explains all frames or none."""
    for way in ("keras", "compiled"):
        seconds[to][way] = seconds[source][way]


def _row(question: Question, seconds: dict[str, list[float]], errors: list[float], layer: str) -> dict[str, Any]:
    figures = {way: spread(values) for way, values in seconds.items()}
    return {
        "title": question.title,
        "method": question.method,
        "layer": layer,
        "seconds": figures,
        "times_faster_than": {
            way: figures[way]["median"] / figures["whycam"]["median"] for way in ("keras", "compiled")
        },
        "error": spread(errors),
    }


def _difference(method: str, found: Array, wanted: Array) -> float:
    """Of what whycam found from what Keras did; see `TOLERANCES`."""
    if method == "grad-cam":
        return float(np.abs(found - wanted).max() / wanted.max())
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
