"""The boxes around a heat map's strongest regions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from whycam.explain import strongest_regions


def box(region: object) -> tuple[int, ...]:
    """Left, top, width, height."""
    return tuple(getattr(region, name) for name in ("x", "y", "width", "height"))


def test_a_region_is_a_box_in_pixels_of_the_frame() -> None:
    heatmap = np.zeros((4, 8), np.float32)
    heatmap[1:3, 2] = 1.0
    (region,) = strongest_regions(heatmap, 640, 480)
    assert box(region) == (160, 120, 80, 240)
    assert region.share == 1.0


def test_the_strongest_comes_first_and_weak_cells_are_none() -> None:
    heatmap = np.zeros((6, 6), np.float32)
    heatmap[0, 0] = 1.0
    heatmap[5, 4:6] = 0.8
    heatmap[0, 5] = 0.4
    strong, weak = strongest_regions(heatmap, 60, 60)
    assert box(strong) == (40, 50, 20, 10)
    assert box(weak) == (0, 0, 10, 10)
    assert (strong.share, weak.share) == pytest.approx((1.6 / 3, 1 / 3), abs=1e-4)


def test_cells_that_touch_at_a_corner_are_one_region() -> None:
    assert len(strongest_regions(np.eye(5, dtype=np.float32), 50, 50)) == 1


def test_a_contour_follows_the_heat_in_pixels_of_the_frame() -> None:
    rows, columns = np.mgrid[0:28, 0:28]
    heatmap = np.exp(-((rows - 9) ** 2 + (columns - 18) ** 2) / 20).astype(np.float32)
    (region,) = strongest_regions(heatmap, 560, 280)
    contour = np.array(region.contour)
    assert 6 <= len(contour) <= 32
    centre = ((18 + 0.5) * 20, (9 + 0.5) * 10)
    assert contour.mean(axis=0) == pytest.approx(centre, abs=8)
    # Half of the peak is sqrt(20 ln 2) = 3.7 cells from it.
    distances = np.hypot((contour[:, 0] - centre[0]) / 20, (contour[:, 1] - centre[1]) / 10)
    assert distances == pytest.approx(3.7, abs=0.6)
    assert (contour.min(axis=0) >= [region.x, region.y]).all()


def test_no_more_than_wanted() -> None:
    heatmap = np.zeros((9, 9), np.float32)
    heatmap[::2, ::2] = 1.0
    assert len(strongest_regions(heatmap, 90, 90, count=4)) == 4


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_map_that_shows_nothing_has_none(value: float) -> None:
    assert strongest_regions(np.full((4, 4), value, np.float32), 64, 48) == []


@settings(max_examples=60, deadline=None)
@given(
    heatmap=arrays(
        np.float32,
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.floats(0, 1, width=32, allow_subnormal=False),
    ),
    width=st.integers(1, 2000),
    height=st.integers(1, 2000),
)
def test_boxes_lie_in_the_frame_and_hold_the_peak(heatmap: np.ndarray, width: int, height: int) -> None:
    found = strongest_regions(heatmap, width, height, count=100)
    assert bool(found) == bool(heatmap.max() > 0)
    for region in found:
        assert region.x + region.width <= width
        assert region.y + region.height <= height
        assert all(0 <= x < width and 0 <= y < height for x, y in region.contour)
        assert 1 <= len(region.contour) <= 32
    assert [region.share for region in found] == sorted((region.share for region in found), reverse=True)
    assert sum(region.share for region in found) <= 1 + 1e-3
    if found:
        row, column = np.unravel_index(np.argmax(heatmap), heatmap.shape)
        x, y = (column + 0.5) * width / heatmap.shape[1], (row + 0.5) * height / heatmap.shape[0]
        assert any(one.x <= x <= one.x + one.width and one.y <= y <= one.y + one.height for one in found)
