"""What a camera's settings make of a recording: the same judge as in the service, as fast as it goes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field

from whycam.alerts.episodes import AlertEvent
from whycam.alerts.judge import FrameJudge
from whycam.config.models import Camera
from whycam.detect import Decision, Model
from whycam.detect.recording import decided
from whycam.sources import Frame


@dataclass(frozen=True)
class Span:
    """An episode from its beginning to its end; times in seconds, on the clock of the frames."""

    id: str
    label: str
    onset: float
    raised: float
    peak: float
    peak_time: float
    ended: float | None
    """When the score was last high enough; None where the recording ends before the episode."""
    cleared: float | None
    """When that was told."""
    reason: str | None
    updates: int

    @property
    def seconds(self) -> float | None:
        """How long it lasted."""
        return None if self.ended is None else self.ended - self.onset

    def as_dict(self) -> dict[str, object]:
        """For JSON; numbers to the millisecond."""
        told = {**vars(self), "duration_seconds": self.seconds}
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in told.items()}


@dataclass
class Replay:
    """A recording's decisions, and the episodes that they make."""

    thresholds: dict[str, float]
    clears: dict[str, float]
    """The score of each class below which its episodes end."""
    cool_down_seconds: float
    decisions: list[Decision] = field(default_factory=list)
    events: list[AlertEvent] = field(default_factory=list)
    suppressed: int = 0
    """Runs above a threshold that a cool-down kept from being raised."""

    def spans(self) -> list[Span]:
        """The episodes, in the order in which they were raised."""
        by_id: dict[str, list[AlertEvent]] = {}
        for event in self.events:
            by_id.setdefault(event.episode.id, []).append(event)
        return [_span(events) for events in by_id.values()]


def replay(model: Model, camera: Camera, frames: Iterable[Frame]) -> Replay:
    """Judge `frames` by the settings of `camera`, armed or not.

    A frame that is not due is no decision. Raises what the frames' source raises.
    """
    judge = FrameJudge(model, camera)
    clears = {name: rules.clear_at for name, rules in judge.rules.items()}
    made = Replay(judge.thresholds, clears, camera.alert.cool_down_seconds)
    with closing(decided(judge, frames)) as decisions:
        for time, judged in decisions:
            if judged is not None:
                decision, events = judged
                made.decisions.append(decision)
                made.events += events
            # As the service does several times a second, by the clock: the recording's clock is its frames.
            made.events += judge.tick(time)
    made.suppressed = judge.suppressed
    return made


def _span(events: list[AlertEvent]) -> Span:
    last = events[-1]
    episode = last.episode
    over = last.phase == "cleared"
    return Span(
        episode.id,
        episode.label,
        episode.onset,
        episode.raised_at,
        episode.peak,
        episode.peak_time,
        episode.last_above if over else None,
        last.time if over else None,
        last.reason if over else None,
        sum(event.phase == "updated" for event in events),
    )
