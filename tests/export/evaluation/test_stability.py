import numpy as np
import pytest

from whycam_export.evaluation.stability import centre_of_mass, jumps, peak_point


def spot(row: int, column: int) -> np.ndarray:
    heatmap = np.zeros((4, 4), np.float32)
    heatmap[row, column] = 2
    return heatmap


def test_a_jump_is_measured_in_parts_of_the_frames_diagonal() -> None:
    corner_to_corner = np.stack([spot(0, 0), spot(3, 3)])
    assert jumps(corner_to_corner, peak_point, aspect=1) == pytest.approx([0.75])
    sideways = np.stack([spot(0, 0), spot(0, 2)])
    assert jumps(sideways, peak_point, aspect=4 / 3) == pytest.approx([0.5 * 4 / 5])


def test_a_focus_that_stays_does_not_jump() -> None:
    assert jumps(np.stack([spot(1, 2)] * 3), centre_of_mass, aspect=1) == [0, 0]


def test_the_centre_of_mass_lies_between_what_weighs() -> None:
    assert centre_of_mass(spot(0, 0) + spot(2, 0)) == pytest.approx((0.375, 0.125))


def test_frames_without_heat_have_no_focus_to_jump_from_or_to() -> None:
    nothing = np.zeros((4, 4), np.float32)
    assert jumps(np.stack([spot(0, 0), nothing, spot(3, 3)]), peak_point, aspect=1) == []
