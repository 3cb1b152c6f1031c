"""Limits that chance does not reach as often as promised, on simulated blocks whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from whycam.drift import SIGNS, Block
from whycam_calibration.drift.fit import FALSE_ALARM_DAYS, alpha_of, consecutive_of, fit

CELLS, FEATURES, HIDDEN = 49, 60, 4
MIXING = np.random.default_rng(1).normal(size=(HIDDEN, CELLS + FEATURES))


def blocks(rng: np.random.Generator, count: int, correlation: float = 0.0, **shift: float) -> list[Block]:
    """Stationary blocks, each like the one before; all edges and features move with a few hidden causes."""
    width = 4 + HIDDEN + CELLS + FEATURES
    noise = rng.normal(size=(count, width)) * np.sqrt(1 - correlation**2)
    series = np.empty_like(noise)
    series[0] = rng.normal(size=width)
    for index in range(1, count):
        series[index] = correlation * series[index - 1] + noise[index]
    places = series[:, 4 : 4 + HIDDEN] @ MIXING * 0.3 + series[:, 4 + HIDDEN :] * 0.3
    return [
        Block(
            float(index),
            float(index),
            np.array([7 + shift.get("brightness", 0), 6, -2 + shift.get("sharpness", 0)]) + 0.05 * row[:3],
            shift.get("scores", 0) + float(row[3]) - 10,
            (1 + shift.get("view", 0) + 0.2 * place[:CELLS]).astype(np.float32),
            (2 + shift.get("scene", 0) + place[CELLS:]).astype(np.float32),
        )
        for index, (row, place) in enumerate(zip(series, places, strict=True))
    ]


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_false_reports_are_no_more_than_promised(correlation: float) -> None:
    rng = np.random.default_rng(0)
    days, seconds, repeats, later = 0.05, 30.0, 25, 400
    beyond = reports = 0
    alphas = []
    for _ in range(repeats):
        stream = blocks(rng, 40 + later, correlation)
        made = fit([stream[:40]], seconds, "fp32", days)
        signs = np.stack([made.baseline.signs(block) for block in stream[40:]])
        out = (abs(made.baseline.deviations(signs)) > made.baseline.limit).any(axis=1)
        beyond += int(out.sum())
        row = 0
        for each in out:
            row = row + 1 if each else 0
            reports += row == made.baseline.consecutive
        alphas.append(made.alpha)
    watched_days = repeats * later * seconds / 86400
    assert beyond / (repeats * later) == pytest.approx(np.mean(alphas), rel=0.6), (
        "the limits are neither loose nor idle"
    )
    assert reports <= watched_days / days


def test_a_false_report_is_promised_once_in_many_days() -> None:
    # Each report takes three blocks of half a minute beyond a limit, of which chance makes three in that time.
    assert alpha_of(30, 3) * FALSE_ALARM_DAYS * 86400 / 30 / 3 == pytest.approx(1)


@pytest.mark.parametrize(
    ("shift", "sign"),
    [({"brightness": -1}, 0), ({"sharpness": -1}, 2), ({"view": 2}, 3), ({"scene": 4}, 4), ({"scores": 20}, 5)],
    ids=lambda value: str(value),
)
def test_a_shift_is_beyond_the_limit_of_its_own_sign(shift: dict[str, float], sign: int) -> None:
    rng = np.random.default_rng(2)
    baseline = fit([blocks(rng, 60)], 30, "fp32").baseline
    for block in blocks(rng, 20, **shift):
        shares = abs(baseline.deviations(baseline.signs(block))) / baseline.limit
        assert shares[sign] > 1
        assert shares.argmax() == sign


def test_blocks_that_resemble_their_neighbours_are_worth_less() -> None:
    rng = np.random.default_rng(3)
    free, slow = fit([blocks(rng, 80)], 30, "fp32"), fit([blocks(rng, 80, 0.8)], 30, "fp32")
    assert slow.worth[0] < free.worth[0] / 2
    assert slow.baseline.limit[0] > free.baseline.limit[0]
    assert slow.baseline.consecutive > free.baseline.consecutive


def test_the_ends_of_two_videos_are_no_neighbours() -> None:
    rng = np.random.default_rng(4)
    alternating = [blocks(rng, 2, brightness=index % 2) for index in range(20)]
    joined = [[block for run in alternating for block in run]]
    assert fit(alternating, 30, "fp32").correlation[0] > 0.9
    assert fit(joined, 30, "fp32").correlation[0] < 0.5


def test_a_drift_outlasts_what_comes_and_goes() -> None:
    assert consecutive_of(30, 0) == 3
    assert consecutive_of(3, 0) == 10
    assert consecutive_of(30, 0.8) == 9
    assert consecutive_of(30, 0.95) == 20


def test_usual_is_measured_against_the_other_blocks() -> None:
    made = fit([blocks(np.random.default_rng(5), 25)], 30, "fp32")
    own = np.stack([made.baseline.signs(block) for block in blocks(np.random.default_rng(5), 25)])
    assert (made.signs[:, 3:5].mean(axis=0) > own[:, 3:5].mean(axis=0)).all()


def test_footage_that_never_changes_has_ranges_all_the_same() -> None:
    one = blocks(np.random.default_rng(6), 1)[0]
    baseline = fit([[one] * 20], 30, "fp32").baseline
    assert (baseline.spread >= [sign.floor for sign in SIGNS]).all()
    assert np.isfinite(baseline.limit).all()
    assert (baseline.deviations(baseline.signs(one)) <= baseline.limit).all()
