import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whycam_export.evaluation.temporal import curves_in_time, held, order_of, roc_auc, share_inside


def test_a_missing_frame_is_held_by_the_one_before_and_the_first_ones_by_the_first_there_is() -> None:
    kept = np.array([False, False, True, False, True, False])
    assert held(kept).tolist() == [2, 2, 2, 2, 4, 4]


def test_frames_are_ordered_from_the_most_relevant() -> None:
    assert order_of(np.array([0.1, 0.6, 0.3], np.float32), np.random.default_rng(0)).tolist() == [1, 2, 0]


def test_equal_frames_are_ordered_by_lot() -> None:
    orders = {tuple(order_of(np.zeros(3, np.float32), np.random.default_rng(seed)).tolist()) for seed in range(50)}
    assert len(orders) == 6


def test_deletion_takes_the_relevant_frames_first_and_insertion_keeps_them_alone() -> None:
    """The score is the mean of the features; only frame 2 has any."""
    features = np.array([[0], [0], [3], [0]], np.float32)

    def score(windows: np.ndarray) -> np.ndarray:
        return windows.mean(axis=(1, 2))

    deletion, insertion = curves_in_time(features, np.array([2, 0, 1, 3]), score)
    # With all; without 2, which 1 holds; and so on.
    assert deletion.tolist() == [0.75, 0, 0, 0]
    # 2 in every slot; 0 before it; 0 and 1 before it; all.
    assert insertion.tolist() == [3, 1.5, 1.5, 0.75]


def test_auc_counts_the_pairs_in_the_right_order_and_ties_as_half() -> None:
    inside = np.array([False, False, True, True])
    assert roc_auc(np.array([1, 2, 3, 4], np.float32), inside) == 1
    assert roc_auc(np.array([4, 3, 2, 1], np.float32), inside) == 0
    assert roc_auc(np.array([1, 3, 2, 3], np.float32), inside) == 0.625
    assert roc_auc(np.zeros(4, np.float32), inside) == 0.5


def test_auc_is_not_a_number_where_all_frames_are_of_one_kind() -> None:
    assert np.isnan(roc_auc(np.arange(3, dtype=np.float32), np.ones(3, np.bool_)))
    assert np.isnan(roc_auc(np.arange(3, dtype=np.float32), np.zeros(3, np.bool_)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=12))
def test_auc_is_scikit_learns(frames: list[tuple[int, bool]]) -> None:
    from sklearn.metrics import roc_auc_score

    values, inside = (np.array(column) for column in zip(*frames, strict=True))
    if inside.any() and not inside.all():
        assert roc_auc(values.astype(np.float32), inside) == pytest.approx(roc_auc_score(inside, values))


def test_the_share_inside_is_a_part_of_the_whole_and_nothing_of_nothing() -> None:
    inside = np.array([False, True, True])
    assert share_inside(np.array([1, 2, 1], np.float32), inside) == 0.75
    assert share_inside(np.zeros(3, np.float32), inside) == 0
