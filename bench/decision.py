"""Seconds per decision: whycam against Keras, on the same frames, interleaved in one run.

A decision is the scores of the window that ends with a new frame. Three ways to it are timed in turn for each frame:

    keras    `model.predict` on the whole window, preprocessing included: how such models are run today
    window   the same on ONNX Runtime: all T frames through `features.onnx`, then `head.onnx`
    whycam   `Detector.push` of the new frame alone

So `keras` to `window` is what the change of runtime brings, `window` to `whycam` what computing nothing twice brings.
The three must agree on the scores, or the run fails.

By default the paper's network is built at full size with random weights, which cost the same as trained ones, and
exported; `--model` and `--bundle` name a model trained by `whycam train` and its bundle instead.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

TOLERANCE = 1e-4
"""Largest difference of scores between the ways: the bound that export itself proves."""

PAUSE = 0.05
"""Seconds between two ways: the worker threads of the last one spin for a while before they sleep."""

CLASSES = ("fight", "fire", "shooting", "normal")

screen = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Way:
    """One way from frames to a decision."""

    name: str
    scores: Callable[[int], NDArray[np.float32]]
    """Scores [K] of the window that ends with frame `i`; called for each `i` in order."""


def main() -> None:
    """Time the ways, print a table, write JSON."""
    options = read_options("Seconds per decision: whycam against Keras.", "build/decision.json", "decisions")
    with tempfile.TemporaryDirectory() as folder:
        if options.model is None:
            options.model, options.bundle = build_paper_network(Path(folder), options.seed)
        report = measure(options.model, options.bundle, options.decisions, options.seed)
    show(report)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if report["largest_difference_of_scores"] > TOLERANCE:
        sys.exit(f"the ways disagree by {report['largest_difference_of_scores']:.1e}, more than {TOLERANCE:.0e}")


def read_options(what: str, output: str, count: str) -> argparse.Namespace:
    """The options of a comparison that times `count`, such as decisions."""
    return parsed(option_parser(what, output, count), count)


def option_parser(what: str, output: str, count: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--model", type=Path, help="a .keras model that `whycam train` wrote")
    parser.add_argument("--bundle", type=Path, help="the bundle exported from it")
    parser.add_argument(f"--{count}", type=int, default=20, help=f"{count} to time in each way (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="draws the frames, and the weights where none are given")
    parser.add_argument("-o", "--output", type=Path, default=Path(output), help="where the figures go")
    return parser


def parsed(parser: argparse.ArgumentParser, count: str) -> argparse.Namespace:
    options = parser.parse_args()
    if (options.model is None) != (options.bundle is None):
        parser.error("--model and --bundle go together")
    if getattr(options, count) < 1:
        parser.error(f"--{count} must be at least 1")
    return options


def build_paper_network(folder: Path, seed: int, *more: str) -> tuple[Path, Path]:
    """The paper's network with random weights, and its bundle, exported with `more` options."""
    import keras

    from whycam_export.training.network import paper_network

    screen.print("building the paper's network with random weights, and exporting it")
    model, bundle = folder / "paper.keras", folder / "paper.whycam"
    keras.utils.set_random_seed(seed)
    paper_network(len(CLASSES)).save(model)
    described = ["--classes", ",".join(CLASSES), "--normal", "normal", "--frame-interval", "0.1"]
    whycam = Path(sys.executable).with_name("whycam")
    subprocess.run(
        [whycam, "export", model, "-o", bundle, "--preprocess", "caffe", *described, *more],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return model, bundle


def measure(model_path: Path, bundle_path: Path, decisions: int, seed: int) -> dict[str, Any]:
    """Time each way `decisions` times, in turn."""
    import keras
    import onnxruntime
    import tensorflow as tf

    import whycam

    manifest = whycam.load(bundle_path).manifest
    length = manifest.window.frames
    shape = (length + decisions, manifest.input.height, manifest.input.width, 3)
    frames = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    ways = (
        keras_way(model_path, frames, length),
        window_way(bundle_path, frames, length),
        whycam_way(bundle_path, frames, length),
    )
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    difference = 0.0
    # The first decision of each way compiles, allocates and fills the window: it is not timed.
    for index in track(range(length - 1, length + decisions), "decisions", console=screen, transient=True):
        scores = []
        for way in ways:
            time.sleep(PAUSE)
            start = time.perf_counter()
            scores.append(way.scores(index))
            seconds[way.name].append(time.perf_counter() - start)
        difference = max(difference, float(np.ptp(scores, axis=0).max()))
    figures = {name: spread(values[1:]) for name, values in seconds.items()}
    return {
        "model": {"frames": length, "height": shape[1], "width": shape[2], "features": manifest.features},
        "decisions": decisions,
        "seconds_per_decision": figures,
        "times_faster_than_keras": {
            name: figures["keras"]["median"] / figure["median"] for name, figure in figures.items()
        },
        "largest_difference_of_scores": difference,
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "onnxruntime": onnxruntime.__version__,
            "whycam": whycam.__version__,
        },
    }


def keras_way(path: Path, frames: NDArray[np.uint8], length: int) -> Way:
    import keras

    from whycam_export.training.network import preprocess

    model = keras.models.load_model(path, compile=False)

    def scores(index: int) -> NDArray[np.float32]:
        window = preprocess(frames[index + 1 - length : index + 1])
        found: NDArray[np.float32] = model.predict(window[np.newaxis], verbose=0)[0]
        return found

    return Way("keras", scores)


def window_way(path: Path, frames: NDArray[np.uint8], length: int) -> Way:
    import onnxruntime

    extractor = onnxruntime.InferenceSession(path / "features.onnx", providers=["CPUExecutionProvider"])
    head = onnxruntime.InferenceSession(path / "head.onnx", providers=["CPUExecutionProvider"])

    def scores(index: int) -> NDArray[np.float32]:
        (features,) = extractor.run(["features"], {"frames": frames[index + 1 - length : index + 1]})
        found: NDArray[np.float32] = head.run(["scores"], {"window": features[np.newaxis]})[0][0]
        return found

    return Way("window", scores)


def whycam_way(path: Path, frames: NDArray[np.uint8], length: int) -> Way:
    import whycam

    detector = whycam.load(path, providers=["cpu"])

    def scores(index: int) -> NDArray[np.float32]:
        if index == length - 1:
            for frame in frames[: length - 1]:
                detector.push(frame)
        decision = detector.push(frames[index])
        assert decision is not None
        assert decision.warm
        return np.array(list(decision.scores.values()), dtype=np.float32)

    return Way("whycam", scores)


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def processor() -> str:
    """The processor's name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def show(report: dict[str, Any]) -> None:
    model, machine = report["model"], report["machine"]
    table = Table(
        title=f"one decision, {model['frames']} frames of {model['width']}x{model['height']}, "
        f"{machine['cores']} cores, {report['decisions']} decisions each"
    )
    for column in ("way", "median", "least", "most", "times faster than Keras"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, figure in report["seconds_per_decision"].items():
        times = (f"{figure[key] * 1000:.1f} ms" for key in ("median", "least", "most"))
        table.add_row(name, *times, f"{report['times_faster_than_keras'][name]:.1f}")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"largest difference of scores between the ways: {report['largest_difference_of_scores']:.1e}")


if __name__ == "__main__":
    main()
