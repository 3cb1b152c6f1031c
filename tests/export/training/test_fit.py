from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from whycam.clips import Clip
from whycam_export.errors import TrainingError
from whycam_export.training.features import Example
from whycam_export.training.fit import Recipe, class_weights, fit, predict


def silent(epoch: int, figures: object) -> None:
    """Report nothing."""


def small_model() -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3, 4)), keras.layers.GRU(8), keras.layers.Dense(2, activation="softmax")])


def separable(count: int, seed: int) -> list[Example]:
    generator = np.random.default_rng(seed)
    return [
        Example(
            generator.normal(2.0 * (index % 2), 0.5, (3, 4)).astype(np.float32),
            index % 2,
            Clip(Path(f"{index}"), "", ""),
        )
        for index in range(count)
    ]


def test_what_can_be_told_apart_is_learned() -> None:
    model, unseen = small_model(), separable(20, seed=1)

    fit(model, separable(40, seed=0), unseen, Recipe(epochs=15, batch=8, learning_rate=0.1), 0, silent)

    assert (predict(model, unseen, 8).argmax(axis=1) == [example.label for example in unseen]).all()


def test_the_weights_of_the_best_epoch_are_kept() -> None:
    model, unseen = small_model(), separable(20, seed=1)
    swapped = [Example(example.features, 1 - example.label, example.clip) for example in separable(40, seed=0)]
    before = model.get_weights()

    fitted = fit(model, swapped, unseen, Recipe(epochs=6, batch=8, learning_rate=0.1), 0, silent)

    best = min(fitted.history, key=lambda row: row["val_cross_entropy"])
    if fitted.best_epoch:
        assert fitted.best_epoch == best["epoch"]
    else:
        assert all((now == then).all() for now, then in zip(model.get_weights(), before, strict=True))


def test_without_progress_the_learning_rate_drops_and_then_training_stops() -> None:
    noise = separable(16, seed=0)
    swapped = [Example(example.features, 1 - example.label, example.clip) for example in noise]

    fitted = fit(small_model(), noise, swapped, Recipe(epochs=100, batch=8, patience=3, reductions=2), 0, silent)

    rates = [row["learning_rate"] for row in fitted.history]
    assert len(rates) < 100
    assert sorted(set(rates), reverse=True) == pytest.approx([0.01, 0.002, 0.0004])
    assert rates == sorted(rates, reverse=True)


def test_the_same_seed_gives_the_same_model() -> None:
    models = [small_model(), small_model()]

    for model in models:
        fit(model, separable(20, seed=0), separable(8, seed=1), Recipe(epochs=3, batch=8), 5, silent)

    first, second = (predict(model, separable(8, seed=2), 8) for model in models)
    assert first == pytest.approx(second, abs=1e-6)


def test_a_loss_that_is_no_number_is_reported() -> None:
    broken = [Example(np.full((3, 4), np.nan, np.float32), 0, Clip(Path("a"), "", ""))]

    with pytest.raises(TrainingError, match=r"diverged in epoch 1: lower --learning-rate \(0\.01\)"):
        fit(small_model(), broken, broken, Recipe(epochs=2, batch=1), 0, silent)


def test_classes_count_alike_however_many_windows_they_have() -> None:
    examples = [Example(np.zeros(1), label, Clip(Path("a"), "", "")) for label in (0, 0, 0, 1)]

    assert class_weights(examples, 2) == pytest.approx([2 / 3, 2])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 0}, "--epochs 0"),
        ({"batch": 0}, "--batch 0"),
        ({"patience": 0}, "--patience 0"),
        ({"learning_rate": 0.0}, "--learning-rate 0"),
        ({"learning_rate": float("inf")}, "--learning-rate inf"),
    ],
)
def test_an_impossible_recipe_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        Recipe(**wrong)
