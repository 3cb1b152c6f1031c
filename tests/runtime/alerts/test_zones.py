"""Zones: what the model sees, and what people see."""

from __future__ import annotations

import numpy as np
import pytest

from whycam.alerts.zones import FILL, Watch
from whycam.config.models import Zone

LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
TOP = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.5), (0.0, 0.5))
WHITE = np.full((40, 60, 3), 255, np.uint8)


def zone(name: str, kind: str, polygon: tuple[tuple[float, float], ...]) -> Zone:
    """A zone as the configuration has it."""
    return Zone.model_validate({"name": name, "kind": kind, "polygon": polygon})


def filled(image: np.ndarray) -> np.ndarray:
    """Where the picture is covered, bool [H, W]."""
    return np.asarray(np.all(image == FILL, axis=2))


def test_without_zones_the_picture_is_itself() -> None:
    assert Watch(()).apply(WHITE) is WHITE
    assert Watch(()).shown(WHITE) is WHITE
    assert Watch(()).mask(4, 6).all()


def test_only_watched_parts_reach_the_model_and_people_see_the_rest() -> None:
    watch = Watch([zone("door", "watch", LEFT)])
    covered = filled(watch.apply(WHITE))
    assert not covered[:, :30].any()
    assert covered[:, 31:].all()
    assert watch.shown(WHITE) is WHITE
    assert (WHITE == 255).all()


def test_masked_parts_are_covered_for_model_and_people() -> None:
    watch = Watch([zone("window", "mask", TOP)])
    for picture in (watch.apply(WHITE), watch.shown(WHITE)):
        assert filled(picture)[:20].all()
        assert not filled(picture)[21:].any()


def test_what_is_watched_and_masked_is_masked() -> None:
    seen = Watch([zone("door", "watch", LEFT), zone("window", "mask", TOP)]).mask(40, 60)
    assert seen[25:, :25].all()
    assert not seen[:20].any()
    assert not seen[:, 35:].any()


def test_several_watched_zones_are_joined() -> None:
    seen = Watch([zone("door", "watch", LEFT), zone("sky", "watch", TOP)]).mask(40, 60)
    assert seen[10, 50]
    assert seen[30, 10]
    assert not seen[30, 50]


def test_a_picture_of_another_size_is_covered_alike() -> None:
    watch = Watch([zone("window", "mask", TOP)])
    for height in range(10, 400, 20):
        covered = filled(watch.apply(np.zeros((height, 2 * height, 3), np.uint8)))
        assert covered.mean() == pytest.approx(0.5, abs=0.06)


def test_a_box_is_in_the_watched_zones_that_it_touches() -> None:
    watch = Watch([zone("door", "watch", LEFT), zone("sky", "watch", TOP), zone("window", "mask", TOP)])
    assert watch.names((0.1, 0.1, 0.2, 0.2)) == ["door", "sky"]
    assert watch.names((0.6, 0.6, 0.9, 0.9)) == []
    assert watch.names((0.4, 0.8, 0.9, 0.9)) == ["door"]
    assert watch.names((0.7, 0.2, 0.7, 0.2)) == ["sky"]
