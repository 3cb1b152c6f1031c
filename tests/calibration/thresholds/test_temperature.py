"""Temperature scaling, and how far scores are from being right as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from whycam_calibration.thresholds.calibration_error import Bin, expected_calibration_error, reliability
from whycam_calibration.thresholds.examples import Examples
from whycam_calibration.thresholds.temperature import calibrated_temperature, fit


def drawn(temperature: float, *, clips: int = 400, per_clip: int = 5, sources: int = 20, seed: int = 0) -> Examples:
    """Windows whose labels are drawn from their logits at `temperature`, so that this is the true one."""
    random = np.random.default_rng(seed)
    honest = random.normal(0, 2, (clips * per_clip, 3))
    chances = softmax(honest, axis=1)
    labels = (chances.cumsum(axis=1) < random.random((len(chances), 1))).sum(axis=1)
    logits = (honest * temperature).astype(np.float32)
    place = np.repeat(np.arange(clips), per_clip)
    scores = softmax(logits, axis=1).astype(np.float32)
    return Examples(logits, scores, labels, place, place % sources, ("normal", "fight", "fire"))


@pytest.mark.parametrize("true", [0.6, 1.5, 3.0])
def test_the_temperature_that_scores_were_made_with_is_found(true: float) -> None:
    found = calibrated_temperature(drawn(true), present=1.0)

    assert found.value == pytest.approx(true, rel=0.08)
    assert found.before is not None
    assert found.after is not None
    assert found.after.error < 0.03 < found.before.error
    assert (found.windows, found.clips, found.sources, found.folds) == (2000, 400, 20, 5)


def test_clips_count_alike_however_long() -> None:
    """A long clip says one temperature, many short ones another: they outweigh it."""
    short, long = drawn(1.5, clips=300, per_clip=1), drawn(6, clips=1, per_clip=3000, seed=1)
    both = Examples(
        *(np.concatenate([getattr(short, name), getattr(long, name)]) for name in ("logits", "own_scores", "labels")),
        np.concatenate([short.clips, np.full(3000, 300)]),
        np.concatenate([short.sources, np.full(3000, 99)]),
        short.names,
    )

    assert fit(both.logits, both.labels, both.weights) == pytest.approx(1.5, rel=0.2)
    assert fit(both.logits, both.labels, np.ones(len(both))) > 3


def test_it_stays_one_where_unseen_sources_are_none_the_better() -> None:
    found = calibrated_temperature(drawn(1.0, clips=40), present=1.0)

    assert found.value == 1
    assert found.reason == "it made sources that it was not fitted on no likelier"


def test_it_stays_one_where_all_windows_are_right() -> None:
    """Then the likelihood grows without end as the temperature falls."""
    labels = np.arange(60) % 3
    logits = (2 * np.eye(3)[labels]).astype(np.float32)
    place = np.arange(60)
    right = Examples(logits, softmax(logits, axis=1), labels, place, place, ("normal", "fight", "fire"))

    found = calibrated_temperature(right, present=1.0)

    assert found.value == 1
    assert "all labelled windows are right" in (found.reason or "")


def test_without_labels_or_unseen_sources_the_bundles_own_stays() -> None:
    one_source = drawn(2.0, sources=1)
    one_class = drawn(2.0)
    one_class = one_class.pick(np.flatnonzero(one_class.labels == 1))

    for examples in (None, one_source, one_class):
        found = calibrated_temperature(examples, present=1.7)
        assert (found.value, found.fitted) == (1.7, None)
        assert found.reason is not None


def test_what_is_said_of_a_window_comes_from_other_sources() -> None:
    """Sources that contradict each other: fitted on itself each would look good, on the others it looks bad."""
    sure, unsure = drawn(0.5, clips=200, sources=1), drawn(5.0, clips=200, sources=1, seed=1)
    both = Examples(
        np.concatenate([sure.logits, unsure.logits]),
        np.concatenate([sure.own_scores, unsure.own_scores]),
        np.concatenate([sure.labels, unsure.labels]),
        np.concatenate([sure.clips, 1000 + unsure.clips]),
        np.repeat([0, 1], 1000),
        sure.names,
    )

    found = calibrated_temperature(both, present=1.0)

    assert found.folds == 2
    assert found.value == 1
    assert found.before is not None
    assert found.after is not None
    assert found.after.loss > found.before.loss


def test_the_expected_calibration_error_of_four_windows_by_hand() -> None:
    scores = np.array([[0.9, 0.1], [0.85, 0.15], [0.4, 0.6], [0.3, 0.7]])
    labels = np.array([0, 1, 1, 1])
    # Ten bins: 0.85 and 0.9 stand in the bins from 0.8 and from 0.9, 0.6 and 0.7 in those from 0.6 and from 0.7.
    expected = (abs(1 - 0.9) + abs(0 - 0.85) + abs(1 - 0.6) + abs(1 - 0.7)) / 4

    bins = reliability(scores, labels, np.ones(4), bins=10)

    assert expected_calibration_error(bins) == pytest.approx(expected)
    assert [one.windows for one in bins] == [1, 1, 1, 1]


def test_windows_of_one_bin_are_judged_together_and_by_weight() -> None:
    scores = np.array([[0.91, 0.09], [0.93, 0.07], [0.95, 0.05]])

    (found,) = reliability(scores, np.array([0, 0, 1]), np.array([1.0, 1.0, 2.0]), bins=10)

    assert found == Bin(1.0, pytest.approx(0.935), pytest.approx(0.5), 3)
