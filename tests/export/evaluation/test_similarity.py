import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whycam_export.evaluation.similarity import rank_correlation, structural_similarity

RAMP = np.arange(36, dtype=np.float32).reshape(6, 6)


def test_rank_correlation_is_of_the_order_alone() -> None:
    assert rank_correlation(RAMP, RAMP**3) == pytest.approx(1)
    assert rank_correlation(RAMP, -RAMP) == pytest.approx(-1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=16))
def test_rank_correlation_is_scipys_ties_and_all(cells: list[tuple[int, int]]) -> None:
    from scipy.stats import spearmanr

    one, other = (np.array(column, np.float32)[None] for column in zip(*cells, strict=True))
    if np.ptp(one) and np.ptp(other):
        assert rank_correlation(one, other) == pytest.approx(spearmanr(one[0], other[0]).statistic)


def test_a_map_that_is_the_same_everywhere_is_like_no_other_and_two_of_them_say_nothing() -> None:
    assert rank_correlation(RAMP, np.zeros_like(RAMP)) == 0
    assert np.isnan(rank_correlation(np.ones_like(RAMP), np.zeros_like(RAMP)))


def test_structural_similarity_is_1_for_the_same_map_at_any_scale_and_less_for_another() -> None:
    assert structural_similarity(RAMP, 5 * RAMP) == pytest.approx(1)
    assert structural_similarity(RAMP, RAMP[::-1].copy()) < 0.6
