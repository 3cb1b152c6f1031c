"""The demo's two figures: which windows count, and when a heat map points at the anomaly."""

from __future__ import annotations

import numpy as np
import pytest

from whycam import Decision, Explanation
from whycam_export.demo.footage import Truth
from whycam_export.demo.measure import Pointing, accuracy, confusion, pointing, true_label

CLASSES = ("normal", "fire")


def truth(label: str = "fire", t0: float = 2.0, t1: float = 4.0) -> Truth:
    times = np.arange(0, 4, 0.1)
    masks = np.zeros((40, 40, 60), np.bool_)
    if t1 > t0:
        masks[20:, 10:20, 30:45] = True
    return Truth(label, "street", t0, t1, times, masks)


def explanation(rows_and_columns: list[tuple[int, int] | None], times: list[float]) -> Explanation:
    heatmaps = np.zeros((len(times), 4, 6), np.float32)
    for heatmap, cell in zip(heatmaps, rows_and_columns, strict=True):
        if cell is not None:
            heatmap[cell] = 1.0
    count = len(times)
    return Explanation(
        heatmaps=heatmaps,
        relevance=np.full(count, 1 / count, np.float32),
        times=np.array(times),
        label="fire",
        method="layercam",
        time="relevance",
        counter=False,
        reference="none",
        explained=tuple(range(len(heatmaps))),
        versus="normal",
        pictures=[np.zeros((8, 8, 3), np.uint8)] * count,
    )


@pytest.mark.parametrize(
    ("ends", "expected"),
    [(1.9, "normal"), (2.0, None), (2.3, None), (2.4, "fire"), (2.9, "fire"), (3.9, "fire")],
)
def test_a_window_counts_where_its_truth_is_beyond_doubt(ends: float, expected: str | None) -> None:
    assert true_label(truth(), ends, frames=10, interval=0.1) == expected


def test_of_an_odd_window_the_larger_half_must_show_the_event() -> None:
    assert true_label(truth(), 2.1, frames=5, interval=0.1) is None
    assert true_label(truth(), 2.2, frames=5, interval=0.1) == "fire"


def test_a_window_after_the_event_is_normal_again() -> None:
    assert true_label(truth(t1=2.5), 3.4, frames=10, interval=0.1) == "normal"


def test_all_windows_of_a_normal_clip_are_normal() -> None:
    assert true_label(truth("normal", 0.0, 0.0), 0.9, frames=10, interval=0.1) == "normal"


def test_undecided_and_cold_windows_are_not_counted() -> None:
    decisions = [
        Decision(0.5, {"normal": float("nan"), "fire": float("nan")}, None, False, False),
        Decision(1.5, {"normal": 0.9, "fire": 0.1}, "normal", True, False),
        Decision(2.2, {"normal": 0.9, "fire": 0.1}, "normal", True, False),
        Decision(3.0, {"normal": 0.8, "fire": 0.2}, "normal", True, False),
        Decision(3.5, {"normal": 0.1, "fire": 0.9}, "fire", True, True),
    ]

    counts = confusion([(truth(), decisions)], CLASSES, 10, 0.1)

    assert counts.tolist() == [[1, 0], [1, 1]]
    assert accuracy(counts) == pytest.approx(2 / 3)


def test_nothing_counted_is_no_accuracy() -> None:
    assert accuracy(np.zeros((2, 2), np.int64)) == 0.0


def test_only_frames_that_show_the_anomaly_count_for_pointing() -> None:
    result = pointing(truth(), explanation([(1, 3), (1, 3), (0, 0)], [1.9, 2.0, 2.1]))

    assert (result.hits, result.frames) == (1, 2)
    assert result.rate == 0.5
    assert result.chance == pytest.approx(150 / 2400)


def test_a_map_without_heat_is_a_miss() -> None:
    assert pointing(truth(), explanation([None], [2.5])) == Pointing(0, 1, pytest.approx(0.0625))


def test_no_frames_are_no_success() -> None:
    assert Pointing().rate == 0.0
