"""Seconds per explanation: whycam against Keras, on the same windows, interleaved in one run.

    Grad-CAM          the heat maps of all frames of a window
    saliency          the pixel gradients of all frames of a window
    saliency, top 3   those of the three most relevant frames; Keras has no way to leave the others out

Three ways, which must agree, or the run fails:

    keras      the model as it was trained, TimeDistributed, differentiated by `GradientTape`: how it is done today
    compiled   the best that Keras can do: the frames as one batch through the CNN, all of it compiled by `tf.function`
    whycam     a window that has just been scored, as in the service: the features and maps of its frames are there

By default the paper's network is built at full size with random weights and exported with the paper's CAM layer, the
last; `--cam-layer` takes another. `--model` and `--bundle` name a model that `whycam train` trained and its bundle.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.decision import PAUSE, build_paper_network, option_parser, parsed, processor, screen, spread

TOLERANCES = {"Grad-CAM": 1e-3, "saliency": 1e-2, "saliency, top 3": 1e-2}
"""Error of a window's heat maps, relative to their maximum, and of its saliency, relative to its norm, as at export.

Half of the windows must keep within it. In the others rounding may decide a ReLU otherwise in one way than in another,
and the gradient jumps; how far Keras itself moves where each pixel moves by its last bit is measured too.
"""
PAPER_LAYER = "block5_conv4"
LABEL = "fight"

Array = NDArray[np.float32]
Explainer = Callable[[NDArray[np.uint8]], Array]


def main() -> None:
    """Time the explanations, print a table, write JSON."""
    parser = option_parser("Seconds per explanation: whycam against Keras.", "build/explanation.json", "windows")
    parser.add_argument("--cam-layer", default=PAPER_LAYER, help="of the network that is built (default: the paper's)")
    options = parsed(parser, "windows")
    with tempfile.TemporaryDirectory() as folder:
        if options.model is None:
            options.model, options.bundle = build_paper_network(
                Path(folder), options.seed, "--cam-layer", options.cam_layer
            )
        report = measure(options.model, options.bundle, options.windows, options.seed)
    show(report)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, row in report["explanations"].items():
        if not row["error"]["median"] <= TOLERANCES[name]:
            sys.exit(f"{name}: the ways disagree by {row['error']['median']:.1e}, more than {TOLERANCES[name]:.0e}")


def measure(model_path: Path, bundle_path: Path, windows: int, seed: int) -> dict[str, Any]:
    """Time each explanation of `windows` windows, in Keras and in whycam in turn."""
    import keras
    import onnxruntime
    import tensorflow as tf

    import whycam
    from whycam.bundle import Bundle
    from whycam.detect import Model

    model = Model(Bundle.open(bundle_path), providers=["cpu"])
    manifest = model.manifest
    shape = (manifest.window.frames, manifest.input.height, manifest.input.width, 3)
    random = np.random.default_rng(seed)
    label = LABEL if LABEL in manifest.classes else manifest.anomalies[0]
    keras_ways, nudged = keras_explainers(model_path, manifest.cams[0].name, manifest.classes.index(label))
    seconds: dict[str, dict[str, list[float]]] = {}
    errors: dict[str, list[float]] = {}
    rounding: dict[str, list[float]] = {}

    def timed(name: str, way: str, run: Callable[[], Array]) -> Array:
        time.sleep(PAUSE)
        start = time.perf_counter()
        found = run()
        seconds.setdefault(name, {}).setdefault(way, []).append(time.perf_counter() - start)
        return found

    # The first window compiles and allocates: it is not timed.
    for _ in track(range(windows + 1), "windows", console=screen, transient=True):
        frames = random.integers(0, 256, shape, dtype=np.uint8)
        window = model.snapshot(frames)

        def explain(method: str, which: Any = "all", window: Any = window) -> Array:
            made = model.explain(window, method, label, frames=which, time="relevance", reference="none")
            return made.heatmaps[list(made.explained)]

        for name, method in (("Grad-CAM", "grad-cam"), ("saliency", "saliency")):
            found = timed(name, "whycam", partial(explain, method))
            wanted = {way: timed(name, way, partial(each[name], frames)) for way, each in keras_ways.items()}
            errors.setdefault(name, []).append(max(difference(name, found, each) for each in wanted.values()))
            rounding.setdefault(name, []).append(difference(name, nudged[name](frames), wanted["compiled"]))
        few = timed("saliency, top 3", "whycam", partial(explain, "saliency", 3))
        assert len(few) == 3
    for way in keras_ways:
        seconds["saliency, top 3"][way] = seconds["saliency"][way]
    errors["saliency, top 3"], rounding["saliency, top 3"] = errors["saliency"], rounding["saliency"]
    explanations = {}
    for name, ways in seconds.items():
        figures = {way: spread(values[1:]) for way, values in sorted(ways.items())}
        explanations[name] = {
            "seconds": figures,
            "times_faster_than": {
                way: figures[way]["median"] / figures["whycam"]["median"] for way in ("keras", "compiled")
            },
            "error": spread(errors[name]),
            "rounding_of_keras": spread(rounding[name]),
        }
    return {
        "model": {"frames": shape[0], "height": shape[1], "width": shape[2], "features": manifest.features},
        "cam_layer": manifest.cams[0].name,
        "windows": windows,
        "explanations": explanations,
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "onnxruntime": onnxruntime.__version__,
            "whycam": whycam.__version__,
        },
    }


def difference(name: str, found: Array, wanted: Array) -> float:
    """Of what whycam found from what a way of Keras did; see `TOLERANCES`."""
    if name == "Grad-CAM":
        return float(np.abs(found - wanted).max() / wanted.max())
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def keras_explainers(
    path: Path, cam_layer: str, label: int
) -> tuple[dict[str, dict[str, Explainer]], dict[str, Explainer]]:
    """Grad-CAM [T,h,w] and saliency [T,H,W] of the logit `label`, from frames uint8 [T,H,W,3], by Keras in two ways;
    and by the second of them where each preprocessed pixel is the next larger number."""
    import keras
    import tensorflow as tf

    from whycam_export.convert.chain import cut, load_model
    from whycam_export.convert.extractor import build_extractor
    from whycam_export.training.network import preprocess

    chain = cut(load_model(path))
    extractor = build_extractor(chain, [cam_layer])
    (*below, last) = chain.head
    below_frames = keras.layers.TimeDistributed(extractor.lower)
    upper = keras.Model(extractor.upper.inputs, extractor.upper.outputs[-1])
    above_frames = keras.layers.TimeDistributed(upper)

    def logit(features: Any) -> Any:
        values = features
        for layer in below:
            values = layer(values)
        return (tf.matmul(values, last.kernel) + last.bias)[0, label]

    def grad_cam(images: Any, below: Any, above: Any) -> Any:
        maps = below(images)
        with tf.GradientTape() as tape:
            tape.watch(maps)
            value = logit(above(maps))
        weights = tf.reduce_mean(tape.gradient(value, maps), axis=(-3, -2))
        return tf.nn.relu(tf.einsum("...c,...hwc->...hw", weights, maps))

    def saliency(images: Any, below: Any, above: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = logit(above(below(images)))
        return tf.reduce_max(tf.abs(tape.gradient(value, images)), axis=-1)

    def as_trained(explain: Any) -> Explainer:
        return lambda frames: explain(
            tf.convert_to_tensor(preprocess(frames)[None]), below_frames, above_frames
        ).numpy()[0]

    def compiled(explain: Any, prepare: Callable[[NDArray[np.uint8]], Array] = preprocess) -> Explainer:
        whole = tf.function(lambda images: explain(images, extractor.lower, lambda maps: upper(maps)[None]))
        return lambda frames: whole(tf.convert_to_tensor(prepare(frames))).numpy()

    def next_larger(frames: NDArray[np.uint8]) -> Array:
        return np.nextafter(preprocess(frames), np.float32(np.inf))

    explanations = {"Grad-CAM": grad_cam, "saliency": saliency}
    ways = {
        "keras": {name: as_trained(explain) for name, explain in explanations.items()},
        "compiled": {name: compiled(explain) for name, explain in explanations.items()},
    }
    return ways, {name: compiled(explain, next_larger) for name, explain in explanations.items()}


def show(report: dict[str, Any]) -> None:
    model, machine = report["model"], report["machine"]
    table = Table(
        title=f"one explanation, {model['frames']} frames of {model['width']}x{model['height']}, maps of "
        f"{report['cam_layer']}, {machine['cores']} cores, median of {report['windows']}"
    )
    times = ("Keras", "compiled", "whycam", "times Keras", "times compiled")
    for column in ("explanation", *times, "error", "most", "of rounding"):
        table.add_column(column, justify="left" if column == "explanation" else "right")
    for name, row in report["explanations"].items():
        times = (f"{row['seconds'][way]['median'] * 1000:.0f} ms" for way in ("keras", "compiled", "whycam"))
        ratios = (f"{ratio:.1f}" for ratio in row["times_faster_than"].values())
        found = (f"{row['error'][key]:.1e}" for key in ("median", "most"))
        table.add_row(name, *times, *ratios, *found, f"{row['rounding_of_keras']['most']:.1e}")
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
