"""How far a precision is from fp32, on cases that can be computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whycam.bundle import Bundle, Manifest
from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.gate import Limits, compare, correlate
from whycam_calibration.precision.seen import Seen

NONE = np.zeros((0, 4, 1, 1), np.float32)


@pytest.fixture
def manifest(bundle: Path) -> Manifest:
    """Classes normal, fight, fire; both alert from 0.7."""
    return Bundle.open(bundle).manifest


def seen(scores: list[list[float]], heatmaps: np.ndarray = NONE) -> Seen:
    return Seen(np.array(scores, np.float32), heatmaps.astype(np.float32))


def test_drift_agreement_and_flips_of_four_windows(manifest: Manifest) -> None:
    fp32 = seen([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.4, 0.6, 0.0], [0.1, 0.1, 0.8]])
    other = seen([[0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [0.6, 0.4, 0.0], [0.1, 0.1, 0.8]])

    figures = compare(fp32, other, manifest)

    assert figures.windows == 4
    assert figures.score_drift_max == pytest.approx(0.2)
    assert figures.score_drift == pytest.approx(np.percentile([0, 0.2, 0.2, 0], 95))
    assert figures.agreement == 0.75
    assert figures.flipped == 1
    assert figures.heatmap_correlation is None
    assert figures.heatmap_peak is None


def test_heat_maps_are_compared_frame_by_frame(manifest: Manifest) -> None:
    ramp = np.arange(20, dtype=np.float32).reshape(4, 5)
    maps = np.stack([ramp, ramp, ramp, np.zeros_like(ramp)])[np.newaxis]
    others = np.stack([2 * ramp, ramp.max() - ramp, np.zeros_like(ramp), np.zeros_like(ramp)])[np.newaxis]
    scores = [[1.0, 0.0, 0.0]]

    figures = compare(seen(scores, maps), seen(scores, others), manifest)

    # The same but for its strength, the opposite, nothing where there was something; where both show nothing, nothing.
    assert correlate(maps, others) == pytest.approx([1, -1, 0])
    assert figures.heatmap_correlation == pytest.approx(0)
    assert figures.heatmap_peak == pytest.approx(1 / 3)


def test_the_hottest_point_may_move_within_the_hottest_tenth(manifest: Manifest) -> None:
    ramp = np.arange(20, dtype=np.float32).reshape(1, 1, 4, 5)
    near, far = ramp.copy(), ramp.copy()
    near[0, 0, 3, 3] = 50
    far[0, 0, 3, 2] = 50
    scores = [[1.0, 0.0, 0.0]]

    assert compare(seen(scores, ramp), seen(scores, near), manifest).heatmap_peak == 1
    assert compare(seen(scores, ramp), seen(scores, far), manifest).heatmap_peak == 0


def test_the_gate_says_what_is_beyond_the_limits(manifest: Manifest) -> None:
    figures = compare(seen([[0.9, 0.1, 0.0]]), seen([[0.3, 0.7, 0.0]]), manifest)

    assert figures.beyond(Limits(max_score_drift=1, min_agreement=0)) == []
    assert figures.beyond(Limits()) == [
        "scores drift by 0.600 (at most 0.05)",
        "labels agree in 0.0% (at least 99.0%)",
    ]


def test_scores_that_are_no_numbers_never_pass(manifest: Manifest) -> None:
    figures = compare(seen([[0.9, 0.1, 0.0]]), seen([[np.nan, np.nan, np.nan]]), manifest)

    assert figures.score_drift == 1
    assert figures.beyond(Limits())


@pytest.mark.parametrize("name", ["max_score_drift", "min_agreement", "min_heatmap_correlation"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_limits_are_shares(name: str, value: float) -> None:
    with pytest.raises(CalibrationError, match=f"--{name.replace('_', '-')} .*give a number from 0 to 1"):
        Limits(**{name: value})
