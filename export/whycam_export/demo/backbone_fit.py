"""The demo's backbone while it learns: VGG19 with batch normalisation, folded into a plain VGG19 when it is written.

Batch normalisation: Ioffe & Szegedy 2015. Cells at several depths are asked for their class (deep supervision, Lee et
al. 2015), and the frame's class is the strongest evidence among the last ones (multiple-instance pooling), so that the
network takes any size: it learns from crops first, at a third of the cost, and from whole frames then.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from whycam_export.demo.scenes import CLASSES
from whycam_export.demo.stills import CELLS, SIZE, Stills
from whycam_export.training.network import BLOCKS, CAFFE_MEAN, channels

WIDTH = 0.25
EPSILON = 1e-3
CROP = 64
STRIDE = SIZE // CELLS
RARE = 4.0
"""How much more a cell of an anomaly weighs than one of the background."""

Batch = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
Weights = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True)
class Course:
    """How long to train: steps on crops, steps on whole frames, and the frames of a step."""

    crop_steps: int = 600
    whole_steps: int = 800
    crop_batch: int = 64
    whole_batch: int = 32
    learning_rate: float = 3e-3


def normalised_vgg19(width: float = WIDTH) -> Any:
    """VGG19 with batch normalisation: f32 [N,h,w,3] -> class logits of cells after block 3, [N,h/4,w/4,K], 4 and 5."""
    maps = frames = keras.Input((None, None, 3))
    cells = []
    for block, ((convolutions, _), filters) in enumerate(zip(BLOCKS, channels(width), strict=True), start=1):
        for index in range(1, convolutions + 1):
            name = f"block{block}_conv{index}"
            maps = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(maps)
            maps = keras.layers.BatchNormalization(epsilon=EPSILON, momentum=0.95, name=f"{name}_norm")(maps)
            maps = keras.layers.ReLU()(maps)
        if block >= 3:
            cells.append(keras.layers.Conv2D(len(CLASSES), 1, name=f"cells{block}")(maps))
        maps = keras.layers.MaxPooling2D(2)(maps)
    return keras.Model(frames, cells)


def folded(model: Any) -> Weights:
    """Kernel [3,3,in,out] and bias [out] of each convolution, its batch normalisation folded in."""
    weights = {}
    for layer in model.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        name = layer.name.removesuffix("_norm")
        (kernel,) = model.get_layer(name).get_weights()
        gamma, beta, mean, variance = layer.get_weights()
        factor = gamma / np.sqrt(variance + EPSILON)
        weights[name] = (kernel * factor, beta - mean * factor)
    return weights


def write_asset(path: Path, weights: Weights) -> None:
    """Write `weights` whole or not at all: kernels at 8 bits, scaled per output channel, biases at 16 bits."""
    arrays: dict[str, Any] = {}
    for name, (kernel, bias) in weights.items():
        for kind, tensor, axes, kept in (("kernel", kernel, (0, 1, 2), np.uint8), ("bias", bias, (0,), np.uint16)):
            low, high = tensor.min(axis=axes), tensor.max(axis=axes)
            scale = np.maximum((high - low) / np.iinfo(kept).max, 1e-12)
            arrays[f"{name}/{kind}|q"] = np.rint((tensor - low) / scale).astype(kept)
            arrays[f"{name}/{kind}|scale_min"] = np.stack([scale, low]).astype(np.float64)
    draft = path.with_name(path.name + ".part.npz")
    np.savez_compressed(draft, **arrays)
    draft.replace(path)


def train(stills: Stills, held_out: Stills, output: Path, course: Course, seed: int) -> None:
    """Train on `stills`; every hundred steps write the asset and print how it does on `held_out`."""
    keras.utils.set_random_seed(seed)
    model = normalised_vgg19()
    steps = course.crop_steps + course.whole_steps
    schedule = keras.optimizers.schedules.CosineDecay(
        1e-4, steps, alpha=0.01, warmup_target=course.learning_rate, warmup_steps=steps // 20
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=2e-3, global_clipnorm=1.0)
    optimizer.build(model.trainable_variables)
    step = _step(model, optimizer)
    rng = np.random.default_rng(seed)
    began = time.monotonic()
    losses = []
    for number, (whole, (frames, labels, masks)) in enumerate(_batches(stills, course, rng), start=1):
        losses.append(float(step(frames, labels.astype(np.int32), masks, tf.constant(whole))))
        if number % 100 == 0 or number == steps:
            write_asset(output, folded(model))
            recalls, pointed = _assess(model, held_out)
            figures = " ".join(f"{name} {recall:.3f}" for name, recall in zip(CLASSES, recalls, strict=True))
            done = f"step {number}/{steps} {(time.monotonic() - began) / 60:.1f} min loss {np.mean(losses):.3f}"
            print(f"{done} recall {figures} cells {pointed:.3f}", flush=True)
            losses.clear()


def _step(model: Any, optimizer: Any) -> Any:
    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def step(frames: Any, labels: Any, masks: Any, whole: Any) -> Any:
        count = tf.shape(frames)[0]
        frames = tf.cast(frames, tf.float32) * tf.random.uniform((count, 1, 1, 1), 0.75, 1.25)
        frames = tf.clip_by_value(frames, 0, 255) - tf.constant(CAFFE_MEAN)
        kind = tf.one_hot(labels, len(CLASSES))
        covered = tf.cast(masks, tf.float32)[..., None] / 255
        with tf.GradientTape() as tape:
            cells = model(frames, training=True)
            loss = tf.constant(0.0)
            for index, logits in enumerate(cells):
                if index:
                    # A coarse cell belongs to the anomaly where half of it does.
                    part = tf.minimum(1.0, 2 * tf.nn.avg_pool2d(covered, 2**index, 2**index, "VALID"))
                else:
                    part = covered
                truth = part * kind[:, None, None] + (1 - part) * tf.one_hot(0, len(CLASSES))
                each = tf.nn.softmax_cross_entropy_with_logits(truth, logits)
                loss += tf.reduce_mean(each * (1 + (RARE - 1) * part[..., 0]))
            if whole:
                smooth = 0.97 * kind + 0.03 / len(CLASSES)
                loss += tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(smooth, _evidence(cells[-1])))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return step


def _evidence(cells: Any) -> Any:
    """Logits of the frame [N,K]: for each class its strongest lead over the normal class among the cells."""
    lead = cells - cells[..., :1]
    return tf.reduce_max(lead, axis=(1, 2))


def _batches(stills: Stills, course: Course, rng: np.random.Generator) -> Iterator[tuple[bool, Batch]]:
    for whole, steps, size in (
        (False, course.crop_steps, course.crop_batch),
        (True, course.whole_steps, course.whole_batch),
    ):
        order: list[int] = []
        for _ in range(steps):
            if len(order) < size:
                order = rng.permutation(len(stills.labels)).tolist()
            chosen, order = order[:size], order[size:]
            cut = [_still(stills, index, whole, rng) for index in chosen]
            yield whole, (np.stack([c[0] for c in cut]), stills.labels[chosen], np.stack([c[1] for c in cut]))


def _still(
    stills: Stills, index: int, whole: bool, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A frame and its mask, mirrored or not; unless `whole` a crop of both, mostly around the anomaly."""
    frame, mask = stills.frames[index], stills.masks[index]
    if not whole:
        room, side = CELLS - CROP // STRIDE, CROP // STRIDE
        corner = rng.integers(0, room + 1, 2)
        marked = np.argwhere(mask > 0)
        if len(marked) and rng.random() < 0.75:
            corner = np.clip(marked[rng.integers(len(marked))] - rng.integers(2, side - 2, 2), 0, room)
        row, column = int(corner[0]), int(corner[1])
        mask = mask[row : row + side, column : column + side]
        frame = frame[row * STRIDE : row * STRIDE + CROP, column * STRIDE : column * STRIDE + CROP]
    return (frame[:, ::-1], mask[:, ::-1]) if rng.random() < 0.5 else (frame, mask)


def _assess(model: Any, stills: Stills) -> tuple[list[float], float]:
    """Recall of each class of frames; part of anomalous frames whose surest cell of their class is on the anomaly."""
    frames = stills.frames.astype(np.float32) - np.array(CAFFE_MEAN, np.float32)
    fine, _, last = model.predict(frames, batch_size=64, verbose=0)
    guesses = np.asarray(_evidence(last)).argmax(axis=1)
    recalls = [float((guesses[stills.labels == k] == k).mean()) for k in range(len(CLASSES))]
    hits = []
    for label, mask, cell in zip(stills.labels, stills.masks, fine, strict=True):
        if label:
            hits.append(mask.flat[(cell[..., label] - cell[..., 0]).argmax()] >= 128)
    return recalls, float(np.mean(hits))
