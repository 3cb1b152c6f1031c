"""All that belongs to one camera on its way through the service."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from whycam.alerts.episodes import AlertEvent, Episode, EpisodeRules, Reason
from whycam.alerts.footage import Footage
from whycam.alerts.judge import FrameJudge
from whycam.bundle import Manifest
from whycam.config.models import Camera as CameraConfig
from whycam.deployment.slot import resolved
from whycam.detect import Decision, Detector, Due, Model, Snapshot
from whycam.detect.ring import Sample
from whycam.drift import DriftReport, monitor_of
from whycam.explain.regions import Region, strongest_regions
from whycam.service.camera import Camera
from whycam.service.clock import Clock
from whycam.service.metrics import ShadowFigures
from whycam.service.settings import CameraSettings
from whycam.sources import Frame

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a frame, a command or the passing of time brought about."""

    lane: Lane
    events: Sequence[AlertEvent]
    open_episodes: Sequence[Episode]
    """The camera's open episodes after the events."""
    window: Snapshot | None
    """The window that the events come from; None while it is cold."""


@dataclass(frozen=True, eq=False)
class Turn:
    """A due frame on its way to be scored."""

    frame: Frame
    due: Due


@dataclass(frozen=True, eq=False)
class Scored:
    """A frame that was scored: what is known of it, for who judges it beside."""

    lane: Lane
    frame: Frame
    due: Due
    decision: Decision
    sample: Sample
    """What the CNN made of it."""
    window: Snapshot | None
    """None while it is cold."""
    rules: Mapping[str, EpisodeRules]
    """When the lane raises, by class."""
    open_episodes: tuple[Episode, ...]


class Follower(Protocol):
    """Judges the frames of a lane too; the lane waits for nothing of it."""

    def offer(self, scored: Scored) -> None:
        """Take a frame that was scored, or leave it; returns at once."""

    def retire(self) -> None:
        """Say nothing any more."""

    def figures(self) -> ShadowFigures:
        """How it compares so far."""

    @property
    def outdated(self) -> bool:
        """Whether the link that names its bundle points elsewhere than when it was loaded: another is to follow."""


def carried_on(episodes: Sequence[Episode], clock: Clock) -> tuple[Episode, ...]:
    """Episodes that were kept by the wall clock, in service time.

    Where the clock has been set back since, they were last seen in the future; they are moved, so that they were last
    seen now: else they could not end before the clock is there again.
    """
    moved = []
    for kept in episodes:
        episode = kept.moved(clock.from_wall(0.0))
        ahead = episode.last_seen - clock.now()
        if ahead > 0:
            log.warning("an open episode, %s, was last seen %.0f s from now: the clock was set back", kept.label, ahead)
            episode = episode.moved(-ahead)
        moved.append(episode)
    return tuple(moved)


class Lane:
    """A camera, its judge, and its last seconds; its parts are used by several threads, the judge under a lock."""

    def __init__(
        self,
        config: CameraConfig,
        model: Model,
        settings: CameraSettings,
        open_episodes: Sequence[Episode],
        clock: Clock,
        *,
        footage_seconds: float,
        ready: Callable[[], None],
        changed: Callable[[Lane], None],
        emit: Callable[[Outcome], None],
        picture: Callable[[Lane, Frame], None],
        drifted: Callable[[Lane, DriftReport], None],
    ) -> None:
        """The lane of the camera in `config`; `open_episodes` carry on from before.

        `ready` is called when a frame waits to be scored, `changed` when the camera's state changes, `emit` with each
        outcome that has events, in order, `picture` with each frame that was scored, and `drifted` when a drift begins,
        ends, or is known not to be. Raises BundleError where the bundle's statistics of drift are damaged.
        """
        self.config = config
        self.name = config.name
        self.model = model
        self.frame_size = (0, 0)
        self.scored = 0
        self.scored_warm = 0
        """Those of them with a full window."""
        self.failures = 0
        self.latest: Snapshot | None = None
        self.last_alert: tuple[str | None, Snapshot | None] = (None, None)
        self.footage = Footage(footage_seconds)
        self._clock = clock
        self._emit = emit
        self._picture = picture
        self._drifted = drifted
        self._follower: Follower | None = None
        self._monitor = monitor_of(model) if config.drift.enabled else None
        self._lock = threading.Lock()
        armed = config.armed if settings.armed is None else settings.armed
        # Disarmed, and killed before the end of its episodes was kept: they are not followed any more.
        self._judge = FrameJudge(model, config, open_episodes if armed else (), armed=armed)
        self.camera = Camera(
            config,
            self.manifest.window,
            clock,
            ready,
            lambda _: changed(self),
            self._judge.is_due,
            self._judge.see,
        )
        if settings.thresholds:
            self._judge.set_thresholds({**self._judge.thresholds, **settings.thresholds})

    @property
    def outdated(self) -> bool:
        """Whether the link that names the bundle points to another version than the one that runs."""
        return resolved(self.config.bundle) != self.model.bundle.path

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of the lane's model."""
        return self.model.manifest

    @property
    def armed(self) -> bool:
        """Whether alerts are raised."""
        return self._judge.armed

    @property
    def thresholds(self) -> dict[str, float]:
        """The score at which each class raises."""
        return dict(self._judge.thresholds)

    @property
    def open_episodes(self) -> tuple[Episode, ...]:
        """The episodes that are raised and not cleared."""
        return self._judge.open_episodes

    def take(self) -> Turn | None:
        """The newest frame, if one is due, on its way to be scored; None where none is."""
        shot = self.camera.take()
        if shot is None:
            return None
        with self._lock:
            due = self._judge.take_seen(shot.seen, shot.frame.time)
        return None if due is None else Turn(shot.frame, due)

    @staticmethod
    def step_together(lanes: Sequence[Lane], samples: Sequence[Sample]) -> None:
        """See `Detector.step_together`."""
        Detector.step_together([lane._judge.detector for lane in lanes], samples)

    def decide(self, turn: Turn, sample: Sample | None = None) -> Decision:
        """Score a frame that was taken; `sample` is what the CNN made of it, which runs here without."""
        frame = turn.frame
        with self._lock:
            decision, events = self._judge.decide(turn.due, sample)
            self.frame_size = frame.size[::-1]
            self.latest = self._judge.snapshot() if decision.warm else None
            self._emit_all(events)
        self.scored += 1
        self.scored_warm += decision.warm
        self.camera.scored(decision.warm)
        self._picture(self, frame)
        self._compare(decision)
        follower = self._follower
        if follower is not None:
            judge = self._judge
            scored = Scored(
                self, frame, turn.due, decision, judge.detector.newest, self.latest, judge.rules, judge.open_episodes
            )
            follower.offer(scored)
        return decision

    @property
    def follower(self) -> Follower | None:
        """Who judges its frames beside it."""
        return self._follower

    def follow_with(self, follower: Follower | None, config: CameraConfig) -> None:
        """Let `follower` judge the frames too, from now on, in the place of the one before, as `config` says."""
        before, self._follower = self._follower, follower
        self.config = config
        if before is not None:
            before.retire()

    @property
    def watches_drift(self) -> bool:
        """Whether the camera is compared with what its bundle was calibrated on."""
        return self._monitor is not None

    @property
    def drift(self) -> DriftReport | None:
        """What the last block said of drift; None where there was none yet, or it is not watched."""
        return self._monitor.latest if self._monitor is not None else None

    def failed(self) -> None:
        """A frame could not be scored: count it, and let the camera's state say so."""
        self.failures += 1
        self.camera.failed()

    def retire(self) -> tuple[Episode, ...]:
        """Follow the open episodes no longer, for the lane that comes in the place of this one."""
        with self._lock:
            return self._judge.retire()

    def tick(self) -> None:
        """Let time pass: episodes whose signal is lost are cleared."""
        with self._lock:
            self._emit_all(self._judge.tick(self._clock.now()))

    def close(self, reason: Reason) -> None:
        """Clear the open episodes."""
        with self._lock:
            self._emit_all(self._judge.close(self._clock.now(), reason))

    def restate(self, episode: str, reason: Reason) -> bool:
        """Say once more how an open episode stands; False where it is cleared by now."""
        with self._lock:
            events = self._judge.restate(episode, self._clock.now(), reason)
            self._emit_all(events)
        return bool(events)

    def set_armed(self, armed: bool) -> None:
        """Arm or disarm; disarming clears the open episodes."""
        with self._lock:
            self._emit_all(self._judge.set_armed(armed, self._clock.now()))

    def set_thresholds(self, thresholds: dict[str, float]) -> None:
        """Raise at these scores from now on; the classes that are not named keep theirs."""
        with self._lock:
            self._judge.set_thresholds({**self._judge.thresholds, **thresholds})

    def regions(self, heatmap: NDArray[np.float32]) -> list[Region]:
        """The strongest regions of a heat map, in pixels of the camera's frames, with the zones they touch."""
        width, height = self.frame_size
        found = strongest_regions(heatmap, width, height)
        zones = self._judge.watch.names
        return [region.model_copy(update={"zones": zones(_shares(region, width, height))}) for region in found]

    def shown(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A frame as people may see it: what is masked is covered."""
        return self._judge.watch.shown(image)

    def _compare(self, decision: Decision) -> None:
        """Compare with what is usual; in the thread that scores, alone."""
        if self._monitor is None:
            return
        if self.latest is None:
            self._monitor.cut()
            return
        report = self._monitor.push(self.latest.samples[-1], decision.scores)
        if report is not None and report.changed:
            self._drifted(self, report)

    def _emit_all(self, events: Sequence[AlertEvent]) -> None:
        # Under the lock: outcomes leave in the order in which they came about, whichever thread brings them.
        if not events:
            return
        for event in events:
            if event.phase == "raised" and self.latest is not None:
                self.last_alert = (event.episode.id, self.latest)
        self._emit(Outcome(self, tuple(events), self._judge.open_episodes, self.latest))


def _shares(region: Region, width: int, height: int) -> tuple[float, float, float, float]:
    """The box's left, top, right and bottom as shares of the frame."""
    right, bottom = region.x + region.width, region.y + region.height
    return region.x / width, region.y / height, right / width, bottom / height
