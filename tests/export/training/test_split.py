from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from whycam.clips import Clip
from whycam_export.errors import TrainingError
from whycam_export.training.split import shared_sources, split_clips

CLASSES = ("fight", "normal")


def clips_of(rows: list[tuple[str, str]]) -> list[Clip]:
    return [Clip(Path(f"{index}.mp4"), label, source) for index, (label, source) in enumerate(rows)]


@given(
    rows=st.lists(st.tuples(st.sampled_from(CLASSES), st.sampled_from("abcdefgh")), min_size=4, max_size=60),
    fraction=st.floats(0.1, 0.5),
    seed=st.integers(0, 1000),
)
def test_no_source_is_on_both_sides_and_every_class_is_on_both(
    rows: list[tuple[str, str]], fraction: float, seed: int
) -> None:
    clips = clips_of(rows)
    assume(all(len({source for label, source in rows if label == name}) > 1 for name in CLASSES))

    sides = split_clips(clips, CLASSES, fraction, seed)

    assert shared_sources(sides) == []
    assert sorted(sides["train"] + sides["validation"], key=clips.index) == clips
    assert {clip.label for clip in sides["train"]} == {clip.label for clip in sides["validation"]} == set(CLASSES)


def test_validation_takes_its_share_of_each_class() -> None:
    generator = random.Random(0)
    clips = clips_of([(label, f"{label}{generator.randrange(30)}") for label in CLASSES for _ in range(200)])

    taken = Counter(clip.label for clip in split_clips(clips, CLASSES, 0.25, seed=3)["validation"])

    assert all(abs(taken[name] - 50) <= 3 for name in CLASSES)


def test_the_seed_draws_the_split() -> None:
    clips = clips_of([(label, f"{label}{index}") for label in CLASSES for index in range(20)])

    draws = [split_clips(clips, CLASSES, 0.25, seed)["validation"] for seed in (1, 1, 2)]

    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_a_class_of_a_single_source_is_refused() -> None:
    clips = clips_of([("fight", "yard"), ("fight", "yard"), ("normal", "hall"), ("normal", "street")])

    with pytest.raises(TrainingError, match=r"class 'fight' has clips of 1 source; at least 2 are needed"):
        split_clips(clips, CLASSES, 0.25, 0)


def test_classes_whose_sources_cannot_be_parted_are_refused() -> None:
    triangle = [("a", "1"), ("a", "2"), ("b", "2"), ("b", "3"), ("c", "1"), ("c", "3")]

    with pytest.raises(TrainingError, match="no split by source"):
        split_clips(clips_of(triangle), ("a", "b", "c"), 0.3, 0)


def test_the_manifests_own_split_is_kept() -> None:
    clips = [
        Clip(Path(f"{side}-{label}.mp4"), label, "yard", side)
        for side in ("train", "validation", "test")
        for label in CLASSES
    ]

    sides = split_clips(clips, CLASSES, 0.25, 0)

    assert [len(sides[side]) for side in ("train", "validation", "test")] == [2, 2, 2]
    assert shared_sources(sides) == ["yard"]


def test_a_manifests_split_that_leaves_a_class_out_is_refused() -> None:
    clips = [
        Clip(Path("a.mp4"), "fight", "yard", "train"),
        Clip(Path("b.mp4"), "normal", "hall", "train"),
        Clip(Path("c.mp4"), "fight", "street", "validation"),
    ]

    with pytest.raises(TrainingError, match="class 'normal' without validation clips"):
        split_clips(clips, CLASSES, 0.25, 0)
