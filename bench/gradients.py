"""Gradients of whole networks: the differentiated ONNX graph against TensorFlow's GradientTape, side by side.

Each network of keras.applications gets random weights, and random statistics in its batch normalisations, so that no
scale is one and no shift nought. The gradient of its pooled features by its pictures, for a random vector, is taken

    onnx      by the graph that `differentiate` makes, in float32, on ONNX Runtime's CPU provider
    tape      by GradientTape on the Keras network, in float32
    exact     by GradientTape on the same network in float64: what both are compared with

A ReLU or a pool whose winner is decided by float32's last digit goes the other way in float64, so `tape` says how near
float32 can come at all. Errors are relative to the largest gradient, and, in norm, to the gradient's length. Seconds
are medians of interleaved runs; `forward` is the graph before it was differentiated.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

NETWORKS = {  # and the pictures they expect
    "VGG16": (-128, 128),
    "VGG19": (-128, 128),
    "ResNet50V2": (-1, 1),
    "MobileNetV2": (-1, 1),
    "EfficientNetB0": (0, 255),
    "DenseNet121": (-2, 2),
}
BOOKS = ("guided", "excitation", "lrp", "lrp-epsilon", "lrp-z-plus")

PAUSE = 0.05
"""Seconds between two ways: the worker threads of the last one spin for a while before they sleep."""

screen = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Row:
    """What was found for one network."""

    network: str
    operators: dict[str, int]
    nodes: int
    nodes_differentiated: int
    error_maximum: float
    error_norm: float
    tape_error_maximum: float
    tape_error_norm: float
    error_to_tape: float
    seconds_forward: float
    seconds_with_gradient: float
    seconds_tape: float
    kept: dict[str, float]
    """The part of the mass at the features that reaches the pictures, for each rule book that keeps it."""


def main() -> None:
    """Measure, print the table, write the JSON; exit 1 where a graph is less exact than it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), help="networks of keras.applications")
    parser.add_argument("--size", type=int, default=64, help="pixels of the pictures' sides")
    parser.add_argument("--pictures", type=int, default=2, help="pictures in a batch")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each way")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest error in norm")
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    rows = []
    for name in options.networks:
        with screen.status(name):
            rows.append(measure(name, options.size, options.pictures, options.repeats))
    Console(width=150).print(table(rows))
    if options.output:
        settings = {"size": options.size, "pictures": options.pictures, "repeats": options.repeats}
        found = {**settings, "networks": [asdict(row) for row in rows]}
        options.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    worst = max(rows, key=lambda row: row.error_norm)
    if worst.error_norm > max(options.tolerance, 2 * worst.tape_error_norm):
        raise SystemExit(f"{worst.network}: the gradient is off by {worst.error_norm:.1e}")


def measure(name: str, size: int, pictures: int, repeats: int) -> Row:
    """Build `name`, differentiate it and compare."""
    import onnx
    import tensorflow as tf

    from whycam_export.autodiff import differentiate
    from whycam_export.convert.tensorflow_onnx import to_onnx

    network, exact = twins(name, size)
    plain = to_onnx(network, "images", "features")
    differentiated = differentiate(plain, ["features"], ["images"])
    onnx.checker.check_model(differentiated, full_check=True)
    rng = np.random.default_rng(0)
    images = rng.uniform(*NETWORKS.get(name, (-1, 1)), (pictures, 3, size, size)).astype(np.float32)
    vector = rng.normal(size=(pictures, network.output_shape[-1])).astype(np.float32)

    def tape(model: Any, dtype: str) -> Callable[[], Any]:
        @tf.function
        def gradient(x: Any, v: Any) -> Any:
            with tf.GradientTape() as watching:
                watching.watch(x)
                value = tf.reduce_sum(model(x, training=False) * v)
            return watching.gradient(value, x)

        x, v = tf.constant(images.transpose(0, 2, 3, 1), dtype), tf.constant(vector, dtype)
        return lambda: gradient(x, v).numpy().transpose(0, 3, 1, 2)

    forward, backward = session(plain), session(differentiated)
    feed = {"images": images, "grad_features": vector}
    taped = tape(network, "float32")
    truth = tape(exact, "float64")()
    ours, theirs = backward.run(["grad_images"], feed)[0], taped()
    ways: dict[str, Callable[[], Any]] = {
        "forward": lambda: forward.run(None, {"images": images}),
        "gradient": lambda: backward.run(["grad_images"], feed),
        "tape": taped,
    }
    seconds = timed(ways, repeats)
    return Row(
        network=name,
        operators=dict(collections.Counter(node.op_type for node in plain.graph.node).most_common()),
        nodes=len(plain.graph.node),
        nodes_differentiated=len(differentiated.graph.node),
        error_maximum=largest(ours - truth) / largest(truth),
        error_norm=length(ours - truth) / length(truth),
        tape_error_maximum=largest(theirs - truth) / largest(truth),
        tape_error_norm=length(theirs - truth) / length(truth),
        error_to_tape=largest(ours - theirs) / largest(truth),
        seconds_forward=seconds["forward"],
        seconds_with_gradient=seconds["gradient"],
        seconds_tape=seconds["tape"],
        kept=kept(plain, images),
    )


def twins(name: str, size: int) -> tuple[Any, Any]:
    """The network in float32 and, with the same weights, in float64."""
    import keras

    made = []
    for floats in ("float32", "float64"):
        keras.config.set_floatx(floats)
        keras.config.set_dtype_policy(floats)
        keras.utils.set_random_seed(0)
        make = getattr(keras.applications, name)
        made.append(make(include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg"))
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    rng = np.random.default_rng(1)
    for layer in made[0].layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([weight + 0.1 * np.abs(rng.normal(size=weight.shape)) for weight in layer.get_weights()])
    made[1].set_weights([weight.astype(np.float64) for weight in made[0].get_weights()])
    return made[0], made[1]


def kept(plain: Any, images: np.ndarray[Any, Any]) -> dict[str, float]:
    """For each book that shares a mass out, how much of the strongest feature's mass the pictures get."""
    from whycam_export.autodiff import differentiate

    features = session(plain).run(None, {"images": images})[0]
    strongest = np.zeros_like(features)
    strongest[:, features.mean(axis=0).argmax()] = 1
    found = {}
    for book in BOOKS:
        shared = session(differentiate(plain, ["features"], ["images"], rules=book))
        vector = strongest * features if "lrp" in book else strongest
        result = shared.run(["grad_images"], {"images": images, "grad_features": vector})[0]
        if not np.isfinite(result).all():
            raise SystemExit(f"book {book} gives what is no number")
        if book not in ("guided", "lrp-epsilon"):  # one is no mass, of the other the biases keep a part
            found[book] = float(result.sum() / vector.sum())
    return found


def session(model: Any) -> Any:
    """`model` on ONNX Runtime's CPU provider with all optimisations."""
    import onnxruntime as ort

    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def timed(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The median seconds of each way, in turn."""
    seconds = collections.defaultdict(list)
    for _ in range(repeats):
        for name, run in ways.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in seconds.items()}


def largest(array: np.ndarray[Any, Any]) -> float:
    """The largest absolute element."""
    return float(np.abs(array).max())


def length(array: np.ndarray[Any, Any]) -> float:
    """The Euclidean norm."""
    return float(np.sqrt(np.square(array, dtype=np.float64).sum()))


def table(rows: list[Row]) -> Table:
    """The rows as people read them."""
    made = Table(title="Gradient of the features by the pictures, float32, against GradientTape in float64")
    made.add_column("network")
    made.add_column("operators", max_width=44)
    for heading in ("nodes", "error (max)", "(norm)", "tape's", "(norm)", "forward", "+ gradient", "ratio", "tape"):
        made.add_column(heading, justify="right")
    for row in rows:
        made.add_row(
            row.network,
            " ".join(row.operators),
            f"{row.nodes} -> {row.nodes_differentiated}",
            f"{row.error_maximum:.1e}",
            f"{row.error_norm:.1e}",
            f"{row.tape_error_maximum:.1e}",
            f"{row.tape_error_norm:.1e}",
            f"{row.seconds_forward * 1000:.0f} ms",
            f"{row.seconds_with_gradient * 1000:.0f} ms",
            f"{row.seconds_with_gradient / row.seconds_forward:.1f}",
            f"{row.seconds_tape * 1000:.0f} ms",
        )
    return made


if __name__ == "__main__":
    main()
