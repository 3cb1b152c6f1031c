"""Two models that judge the same frames: how far their scores are apart, and what one of them raises alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

from whycam.alerts.episodes import AlertTracker, Episode, EpisodeRules
from whycam.detect.decision import Decision

Side = Literal["live", "candidate"]
Kept = TypeVar("Kept")

_SIDES: tuple[Side, Side] = ("live", "candidate")


@dataclass(frozen=True)
class Standing:
    """What has been found so far."""

    compared: int = 0
    """Frames on which both windows were full."""
    agreed: int = 0
    """Those on which both gave the same class the highest score."""
    mean_difference: float = 0.0
    """Over these frames, of the difference of the class whose scores are farthest apart."""
    max_difference: float = 0.0
    both: int = 0
    """Episodes that both have raised."""
    live_only: int = 0
    candidate_only: int = 0

    def with_frame(self, live: Decision, candidate: Decision) -> Standing:
        """The same after one more frame; classes that only one of them has are not compared."""
        shared = live.scores.keys() & candidate.scores.keys()
        difference = max((abs(live.scores[name] - candidate.scores[name]) for name in shared), default=0.0)
        compared = self.compared + 1
        return replace(
            self,
            compared=compared,
            agreed=self.agreed + (live.label == candidate.label),
            mean_difference=self.mean_difference + (difference - self.mean_difference) / compared,
            max_difference=max(self.max_difference, difference),
        )


@dataclass(frozen=True, eq=False)
class Disagreement(Generic[Kept]):
    """An episode that one of them has raised and the other has not."""

    side: Side
    """Who raised it."""
    episode: Episode
    """As it was raised."""
    live: Decision
    candidate: Decision
    """Both at the frame at which it was raised."""
    kept: Kept
    """What was kept then."""


class Comparison(Generic[Kept]):
    """Follows the episodes of both, by the rules of each, over the frames that both have decided on.

    An episode is both's where the other has one open of the same class, or raises one within `within_seconds`. It is
    counted once: an episode of one that lies beside several of the other is one.
    """

    def __init__(
        self, live: Mapping[str, EpisodeRules], candidate: Mapping[str, EpisodeRules], within_seconds: float
    ) -> None:
        """By these rules, of the classes that each raises; nothing seen yet."""
        self.standing = Standing()
        self._rules: dict[Side, Mapping[str, EpisodeRules]] = {"live": live, "candidate": candidate}
        self._trackers: dict[Side, AlertTracker] = {side: AlertTracker(self._rules[side]) for side in _SIDES}
        self._within = within_seconds
        self._waiting: dict[str, Disagreement[Kept]] = {}
        """Episodes that only one has raised so far, by class."""

    def follow(self, live: Mapping[str, EpisodeRules]) -> None:
        """Judge the live scores by these rules from now on; they name the same classes."""
        if live is not self._rules["live"]:
            self._rules["live"] = live
            self._trackers["live"].reconfigure(live)

    def push(self, live: Decision, candidate: Decision, keep: Callable[[], Kept]) -> list[Disagreement[Kept]]:
        """Take what both say of a frame, in the order of time; the disagreements that are known by now.

        `keep` is asked where one of them raises an episode, for what is to be known of that moment later. While one of
        the windows is cold, nothing is compared, and no run above a threshold goes on.
        """
        if not (live.warm and candidate.warm):
            cold = Decision(live.time, {}, label=None, warm=False, alert=False)
            for tracker in self._trackers.values():
                tracker.push(cold)
            return self._overdue(live.time)
        self.standing = self.standing.with_frame(live, candidate)
        for side, decision in zip(_SIDES, (live, candidate), strict=True):
            for event in self._trackers[side].push(decision):
                if event.phase == "raised":
                    self._raised(side, event.episode, live, candidate, keep)
        return self._overdue(live.time)

    def _raised(
        self, side: Side, episode: Episode, live: Decision, candidate: Decision, keep: Callable[[], Kept]
    ) -> None:
        label = episode.label
        other: Side = "candidate" if side == "live" else "live"
        waiting = self._waiting.get(label)
        if waiting is not None and waiting.side == other:
            del self._waiting[label]
            self.standing = replace(self.standing, both=self.standing.both + 1)
        elif waiting is None and all(one.label != label for one in self._trackers[other].open):
            self._waiting[label] = Disagreement(side, episode, live, candidate, keep())

    def _overdue(self, time: float) -> list[Disagreement[Kept]]:
        """Those that the other has not raised in time; counted, and waiting no longer."""
        alone = [one for one in self._waiting.values() if time - one.episode.raised_at >= self._within]
        for one in alone:
            del self._waiting[one.episode.label]
        lonely = {side: sum(one.side == side for one in alone) for side in _SIDES}
        self.standing = replace(
            self.standing,
            live_only=self.standing.live_only + lonely["live"],
            candidate_only=self.standing.candidate_only + lonely["candidate"],
        )
        return alone
