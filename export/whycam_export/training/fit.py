"""Fitting: stochastic gradient descent on windows, keeping the weights that do best on the validation clips."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from whycam_export.errors import TrainingError
from whycam_export.training.features import Example, batch_input

REDUCTION = 0.2
"""Factor on the learning rate when the validation clips gain no more."""

Report = Callable[[int, Mapping[str, float]], None]
"""Called after each epoch with its number, from 1, and its figures."""


@dataclass(frozen=True)
class Recipe:
    """How the weights are found: the paper's SGD, with momentum and with the norm of the gradient bounded."""

    epochs: int = 200
    batch: int = 32
    learning_rate: float = 0.01
    momentum: float = 0.9
    clip_norm: float = 1.0
    patience: int = 10
    """Epochs without a better validation cross-entropy after which the learning rate is reduced."""
    reductions: int = 2
    """How often it is reduced, each time from the best weights, before training stops."""

    def __post_init__(self) -> None:
        for option, value in (("--epochs", self.epochs), ("--batch", self.batch), ("--patience", self.patience)):
            if value < 1:
                raise TrainingError(f"{option} {value}: must be at least 1")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise TrainingError(f"--learning-rate {self.learning_rate:g}: must be above 0")


@dataclass(frozen=True)
class Fitted:
    """How fitting went."""

    history: list[dict[str, float]]
    """Of each epoch: number, learning rate, loss (with penalties), accuracy and cross-entropy; `val_` on validation."""
    best_epoch: int
    """The epoch whose weights were kept; 0 where none was better than before."""


def fit(
    model: Any, training: Sequence[Example], validation: Sequence[Example], recipe: Recipe, seed: int, report: Report
) -> Fitted:
    """Train the Keras `model` on `training`, in place; its weights become those of the best epoch on `validation`.

    Best is the lowest cross-entropy, all classes counting alike; epoch 0, the weights as they came, takes part.
    When it stays away, training goes on from the best weights with a lower learning rate.
    Raises TrainingError where the loss stops being a number.
    """
    model.compile(
        optimizer=keras.optimizers.SGD(
            recipe.learning_rate, momentum=recipe.momentum, nesterov=True, global_clipnorm=recipe.clip_norm
        ),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        weighted_metrics=[keras.metrics.SparseCategoricalCrossentropy(name="cross_entropy")],
    )
    generator = np.random.default_rng(seed)
    weights, validation_weights = (class_weights(side, model.outputs[0].shape[-1]) for side in (training, validation))

    def evaluate() -> dict[str, float]:
        scores = predict(model, validation, recipe.batch)
        return _figures(scores, np.array([example.label for example in validation]), validation_weights)

    best, best_epoch, best_weights = evaluate()["cross_entropy"], 0, model.get_weights()
    history: list[dict[str, float]] = []
    learning_rate, waiting, reductions = recipe.learning_rate, 0, recipe.reductions
    for epoch in range(1, recipe.epochs + 1):
        shuffled = [training[at] for at in generator.permutation(len(training))]
        figures = {"learning_rate": learning_rate, **_train_epoch(model, shuffled, weights, recipe.batch)}
        figures |= {f"val_{name}": value for name, value in evaluate().items()}
        if not all(map(math.isfinite, figures.values())):
            raise TrainingError(f"training diverged in epoch {epoch}: lower --learning-rate ({recipe.learning_rate:g})")
        history.append({"epoch": epoch, **figures})
        report(epoch, figures)
        waiting += 1
        if figures["val_cross_entropy"] < best:
            best, best_epoch, best_weights = figures["val_cross_entropy"], epoch, model.get_weights()
            waiting = 0
        if waiting >= recipe.patience:
            if reductions == 0:
                break
            learning_rate, waiting, reductions = REDUCTION * learning_rate, 0, reductions - 1
            model.set_weights(best_weights)
            model.optimizer.learning_rate = learning_rate
            _forget_momentum(model.optimizer)
    model.set_weights(best_weights)
    return Fitted(history, best_epoch)


def predict(model: Any, chosen: Sequence[Example], batch: int) -> npt.NDArray[np.float32]:
    """Scores f32 [N, K] of the windows."""
    return np.concatenate([model.predict_on_batch(batch_input(part)) for part in _batches(chosen, batch)])


def class_weights(chosen: Sequence[Example], classes: int) -> npt.NDArray[np.float32]:
    """A weight per class, f32 [K], so that all classes count alike and the windows' mean weight is 1."""
    counts = np.bincount([example.label for example in chosen], minlength=classes)
    return np.asarray(len(chosen) / (classes * np.maximum(counts, 1)), dtype=np.float32)


def _forget_momentum(optimizer: Any) -> None:
    """What has gathered belongs to the weights that were given up."""
    for variable in optimizer.variables:
        if "momentum" in variable.path:
            variable.assign(np.zeros(variable.shape, dtype=np.float32))


def _train_epoch(
    model: Any, chosen: Sequence[Example], weights: npt.NDArray[np.float32], batch: int
) -> dict[str, float]:
    """One pass over `chosen`; the means of `loss` (with its penalties), `accuracy` and weighted `cross_entropy`."""
    totals = {"loss": 0.0, "accuracy": 0.0, "cross_entropy": 0.0}
    for part in _batches(chosen, batch):
        labels = np.array([example.label for example in part])
        model.reset_metrics()
        figures = model.train_on_batch(batch_input(part), labels, sample_weight=weights[labels], return_dict=True)
        share = len(part) / len(chosen)
        totals["loss"] += share * float(figures["loss"])
        totals["accuracy"] += share * float(figures["accuracy"])
        # Keras divides a weighted metric by the batch's weight; the weights of all of `chosen` add up to its length.
        totals["cross_entropy"] += float(figures["cross_entropy"] * weights[labels].sum()) / len(chosen)
    return totals


def _figures(
    scores: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], weights: npt.NDArray[np.float32]
) -> dict[str, float]:
    """Accuracy and weighted cross-entropy of scores [N, K] in (0, 1)."""
    given = np.clip(scores[np.arange(len(labels)), labels].astype(np.float64), 1e-7, None)
    return {
        "accuracy": float((scores.argmax(axis=1) == labels).mean()),
        "cross_entropy": float(np.average(-np.log(given), weights=weights[labels])),
    }


def _batches(chosen: Sequence[Example], batch: int) -> Iterator[Sequence[Example]]:
    return (chosen[start : start + batch] for start in range(0, len(chosen), batch))
