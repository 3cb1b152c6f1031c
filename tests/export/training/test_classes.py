from __future__ import annotations

from pathlib import Path

import pytest

from whycam.clips import Clip
from whycam.errors import WhycamError
from whycam_export.errors import TrainingError
from whycam_export.training.classes import find_normal, order_classes

CLIPS = [Clip(Path(f"{label}.mp4"), label, label) for label in ("normal", "fight", "fight")]


def test_training_errors_are_whycams_own() -> None:
    assert issubclass(TrainingError, WhycamError)


def test_classes_are_in_the_order_asked_for() -> None:
    assert order_classes(CLIPS) == ("fight", "normal")
    assert order_classes(CLIPS, ["normal", "fight"]) == ("normal", "fight")


@pytest.mark.parametrize("wanted", [["fight"], ["fight", "normal", "fire"], ["fight", "fight", "normal"]])
def test_an_order_that_is_not_of_the_classes_is_refused(wanted: list[str]) -> None:
    with pytest.raises(TrainingError, match="--classes"):
        order_classes(CLIPS, wanted)


@pytest.mark.parametrize(
    ("classes", "normal"),
    [
        (("fight", "noFight"), "noFight"),
        (("fight", "no_fight"), "no_fight"),
        (("fight", "fire", "Normal", "shooting"), "Normal"),
        (("NonViolence", "Violence"), "NonViolence"),
    ],
)
def test_the_normal_class_is_known_by_its_name(classes: tuple[str, ...], normal: str) -> None:
    assert find_normal(classes) == normal


@pytest.mark.parametrize("classes", [("fight", "walk"), ("normal", "noFight", "fight")])
def test_a_normal_class_that_cannot_be_told_must_be_named(classes: tuple[str, ...]) -> None:
    with pytest.raises(TrainingError, match="--normal NAME"):
        find_normal(classes)

    assert find_normal(classes, "fight") == "fight"


def test_a_normal_class_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TrainingError, match="--normal calm: not a class; the classes are fight, normal"):
        find_normal(("fight", "normal"), "calm")
