import numpy as np
import pytest

from whycam_export.evaluation.deletion import (
    STEPS,
    area,
    blurred,
    centre_maps,
    curves,
    random_maps,
    ranks,
    replaced,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_area_of_a_straight_line_is_its_middle_and_of_a_step_its_part() -> None:
    assert area(np.linspace(1, 0, 9, dtype=np.float32)) == pytest.approx(0.5)
    assert area(np.array([1, 1, 0, 0, 0], np.float32)) == pytest.approx(0.375)


def test_the_rank_of_a_pixel_is_the_part_of_its_own_frame_that_is_hotter() -> None:
    heatmaps = np.array([[[4, 3], [2, 1]], [[10, 40], [30, 20]]], np.float32)
    assert ranks(heatmaps, 2, 2, rng()).tolist() == [[[0, 0.25], [0.5, 0.75]], [[0.75, 0], [0.25, 0.5]]]


def test_pixels_of_equal_heat_are_ranked_by_lot_not_from_the_top() -> None:
    rank = ranks(np.zeros((1, 16, 16), np.float32), 16, 16, rng())[0]
    assert sorted(rank.ravel()) == pytest.approx(np.arange(256) / 256)
    assert abs(rank[:8].mean() - rank[8:].mean()) < 0.1


def test_at_each_step_one_more_part_of_the_hottest_pixels_is_replaced() -> None:
    window, other = np.zeros((2, 4, 4, 3), np.uint8), np.full((2, 4, 4, 3), 9, np.uint8)
    heatmaps = np.stack([np.arange(16, dtype=np.float32).reshape(4, 4)] * 2)
    found = replaced(window, other, ranks(heatmaps, 4, 4, rng()))
    assert found.shape == (STEPS - 1, 2, 4, 4, 3)
    for step, each in enumerate(found, start=1):
        assert (each == 9).mean() == step / STEPS
    assert (found[0][:, 3, 2:] == 9).all()


def test_a_true_map_beats_its_reverse_in_both_curves() -> None:
    """The score is the light of the left half: a map that is hot there is right, one that is hot elsewhere wrong."""
    window, veiled = np.full((1, 8, 8, 3), 200, np.uint8), np.zeros((1, 8, 8, 3), np.uint8)

    def score(windows: np.ndarray) -> np.ndarray:
        return (windows[:, :, :, :4] / 200).mean(axis=(1, 2, 3, 4)).astype(np.float32)

    right = np.zeros((1, 8, 8), np.float32)
    right[:, :, :4] = 1
    deleted, inserted = (area(each) for each in curves(window, veiled, (1, 0), ranks(right, 8, 8, rng()), score))
    assert deleted == pytest.approx(0.25)
    assert inserted == pytest.approx(0.75)
    deleted, inserted = (area(each) for each in curves(window, veiled, (1, 0), ranks(1 - right, 8, 8, rng()), score))
    assert deleted == pytest.approx(0.75)
    assert inserted == pytest.approx(0.25)


def test_blurring_keeps_the_light_of_a_frame_and_takes_its_detail() -> None:
    checks = np.zeros((1, 40, 40, 3), np.uint8)
    checks[:, ::2, ::2] = checks[:, 1::2, 1::2] = 200
    veiled = blurred(checks)
    assert veiled.mean() == pytest.approx(100, abs=1)
    assert veiled.std() < 2


def test_baseline_maps_have_heat_and_know_nothing_of_the_picture() -> None:
    centre = centre_maps(3, 5, 7)
    assert centre.shape == (3, 5, 7)
    assert all(np.unravel_index(each.argmax(), each.shape) == (2, 3) for each in centre)
    random = random_maps(3, 5, 7, rng())
    assert random.shape == (3, 5, 7)
    assert random.min() == 0
    assert not np.allclose(random[0], random[1])
