import numpy as np
import pytest

from whycam_export.evaluation.space import energy_inside, hits, peak


def cell(row: int, column: int, size: int = 4, value: float = 1.0) -> np.ndarray:
    heatmap = np.zeros((size, size), np.float32)
    heatmap[row, column] = value
    return heatmap


def left_half(height: int = 8, width: int = 8) -> np.ndarray:
    mask = np.zeros((height, width), np.bool_)
    mask[:, : width // 2] = True
    return mask


def test_the_peak_is_the_centre_of_the_largest_cell() -> None:
    assert peak(cell(0, 3), 8, 12) == (1.0, 10.5)


def test_a_peak_inside_the_mask_hits_and_one_outside_misses() -> None:
    assert hits(cell(2, 1), left_half())
    assert not hits(cell(2, 2), left_half())


def test_a_map_without_any_heat_misses_even_where_the_mask_is_all_of_the_frame() -> None:
    nothing = np.zeros((4, 4), np.float32)
    assert not hits(nothing, np.ones((8, 8), np.bool_))
    assert energy_inside(nothing, np.ones((8, 8), np.bool_)) == 0


def test_heat_that_is_the_same_everywhere_has_the_masks_part_of_the_frame_inside_it() -> None:
    assert energy_inside(np.full((4, 4), 3, np.float32), left_half()) == pytest.approx(0.5)


def test_the_energy_is_a_share_whatever_the_scale_of_the_map() -> None:
    heatmap = cell(0, 0, size=8) * 3 + cell(7, 7, size=8)
    assert energy_inside(heatmap, left_half()) == pytest.approx(0.75)
    assert energy_inside(heatmap * 1000, left_half()) == pytest.approx(0.75)
