"""Two models side by side: what is counted, and which episodes are one's alone."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest

from whycam.alerts.comparison import Comparison, Disagreement
from whycam.alerts.episodes import EpisodeRules
from whycam.detect import Decision

RULES = EpisodeRules(
    raise_at=0.5,
    clear_at=0.4,
    minimum_seconds=0.2,
    merge_seconds=0.2,
    cool_down_seconds=0,
    update_seconds=10,
    signal_lost_seconds=30,
)
WITHIN = 1.0


class Pair:
    """Two models whose scores for a fight a test gives, at ten frames a second."""

    def __init__(self) -> None:
        rules = {"fight": RULES}
        self.comparison: Comparison[int] = Comparison(rules, rules, WITHIN)
        self.frames = 0
        self.alone: list[Disagreement[int]] = []

    def play(self, live: Iterable[float], candidate: Iterable[float]) -> None:
        """Let both say these scores; NaN is a cold window."""
        for one, other in zip(live, candidate, strict=True):
            self.alone += self.comparison.push(self.decision(one), self.decision(other), lambda: self.frames)
            self.frames += 1

    def decision(self, score: float) -> Decision:
        warm = not math.isnan(score)
        label = ("fight" if score > 0.5 else "normal") if warm else None
        return Decision(self.frames / 10, {"fight": score, "normal": 1 - score}, label, warm, alert=score >= 0.5)

    @property
    def episodes(self) -> tuple[int, int, int]:
        """Both's, the live one's, the candidate's."""
        standing = self.comparison.standing
        return standing.both, standing.live_only, standing.candidate_only


def fight(begin: int, end: int, length: int = 40) -> list[float]:
    return [0.9 if begin <= frame < end else 0.1 for frame in range(length)]


NOTHING = fight(0, 0)


def test_frames_are_compared_by_the_class_that_is_farthest_apart() -> None:
    pair = Pair()
    pair.play([0.1, 0.4, 0.6], [0.1, 0.6, 0.9])
    standing = pair.comparison.standing
    assert (standing.compared, standing.agreed) == (3, 2)
    assert standing.mean_difference == pytest.approx((0 + 0.2 + 0.3) / 3)
    assert standing.max_difference == pytest.approx(0.3)


def test_cold_windows_are_not_compared_and_break_off_runs() -> None:
    pair = Pair()
    pair.play([0.9, 0.9, math.nan, 0.9, 0.9], [0.9, 0.9, 0.9, 0.9, 0.9])
    assert pair.comparison.standing.compared == 4
    assert pair.episodes == (0, 0, 0), "no run lasted long enough"


@pytest.mark.parametrize(("begin", "end"), [(5, 20), (11, 20), (0, 8)])
def test_an_episode_of_both_need_not_begin_at_the_same_frame(begin: int, end: int) -> None:
    pair = Pair()
    pair.play(fight(5, 20), fight(begin, end))
    assert pair.episodes == (1, 0, 0)
    assert pair.alone == []


@pytest.mark.parametrize("side", ["live", "candidate"])
def test_an_episode_of_one_alone_is_told_when_the_other_had_its_time(side: str) -> None:
    pair = Pair()
    pair.play(*((fight(5, 10), NOTHING) if side == "live" else (NOTHING, fight(5, 10))))
    (alone,) = pair.alone
    assert (alone.side, alone.episode.label, alone.kept) == (side, "fight", 7)
    assert (alone.live.time, alone.candidate.time) == (0.7, 0.7)
    assert pair.episodes == ((0, 1, 0) if side == "live" else (0, 0, 1))


def test_it_is_not_told_before() -> None:
    pair = Pair()
    pair.play(fight(5, 40)[:17], NOTHING[:17])
    assert pair.alone == []
    pair.play([0.9], [0.1])
    assert len(pair.alone) == 1


def test_who_comes_too_late_makes_no_second_episode() -> None:
    pair = Pair()
    pair.play(fight(5, 40), fight(25, 40))
    assert pair.episodes == (0, 1, 0)


def test_an_episode_beside_several_of_the_other_is_one() -> None:
    pair = Pair()
    pieces = [0.9 if 5 <= frame < 35 and frame % 10 < 6 else 0.1 for frame in range(40)]
    pair.play(fight(5, 35), pieces)
    assert pair.episodes == (1, 0, 0)


def test_other_thresholds_of_the_live_bundle_hold_at_once() -> None:
    pair = Pair()
    pair.comparison.follow({"fight": EpisodeRules(**{**vars(RULES), "raise_at": 0.95})})
    pair.play(fight(5, 20), fight(5, 20))
    assert pair.episodes == (0, 0, 1)


def test_classes_that_only_one_knows_are_its_own() -> None:
    comparison: Comparison[None] = Comparison({"fight": RULES}, {"fight": RULES, "fire": RULES}, WITHIN)
    alone = []
    for frame in range(20):
        live = Decision(frame / 10, {"fight": 0.1, "normal": 0.9}, "normal", warm=True, alert=False)
        candidate = Decision(frame / 10, {"fight": 0.1, "fire": 0.8, "normal": 0.1}, "fire", warm=True, alert=True)
        alone += comparison.push(live, candidate, lambda: None)
    assert [(one.side, one.episode.label) for one in alone] == [("candidate", "fire")]
    assert comparison.standing.max_difference == pytest.approx(0.8)
    assert comparison.standing.agreed == 0
