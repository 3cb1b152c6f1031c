"""A candidate beside a camera's bundle: it judges the same frames by the same rules, and its word raises nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from whycam.alerts.comparison import Comparison, Disagreement, Standing
from whycam.alerts.judge import FrameJudge
from whycam.config.models import Camera as CameraConfig
from whycam.config.models import Shadow as ShadowConfig
from whycam.deployment.slot import resolved
from whycam.detect import Decision, Model, Snapshot
from whycam.errors import InputError, WhycamError
from whycam.service.candidates import ENOUGH
from whycam.service.lane import Lane, Scored
from whycam.service.metrics import ShadowFigures

log = logging.getLogger(__name__)

WAITING = 4
"""Frames of a camera that wait for its candidate at most: a short delay is made up for, lasting ones are not."""
_FIRST_REST, _LAST_REST = 1.0, 60.0
"""Seconds that a candidate is left alone after trouble; twice as long each time."""
_HOUR = 3600.0
_NEARLY = (-0.001, 1.001)
"""Between these a score is one, but for rounding."""


@dataclass(frozen=True, eq=False)
class Moment:
    """Both, when one of them raised an episode."""

    scored: Scored
    window: Snapshot
    """The candidate's."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A candidate that is loaded."""

    judge: FrameJudge
    comparison: Comparison[Moment]
    since: float
    """Service time, seconds, of the first frame."""

    @property
    def model(self) -> Model:
        """Its model."""
        return self.judge.model


class Shadow:
    """Follows one lane. `offer` is the scoring thread's, `judge` the shadows' own; whatever may be asked by any.

    Each frame that was scored is offered. Where `WAITING` wait already, it is skipped and counted; to the candidate it
    is then a frame that the camera did not give. A candidate that fails is left alone for a while, and its window then
    begins anew. It is loaded with the first frame, in the same way.
    """

    def __init__(
        self,
        camera: CameraConfig,
        settings: ShadowConfig,
        *,
        load: Callable[[CameraConfig, Model], Model],
        queue: Callable[[Shadow, Scored], bool],
        told: Callable[[Lane, Shadow], None],
        held: Callable[[Shadow], None],
        disagreed: Callable[[Shadow, Disagreement[Moment]], None],
    ) -> None:
        """The shadow that `settings` ask for; `camera` is as it would be were the candidate its bundle.

        `load` opens the candidate beside a live model; `queue` lets `judge` be called with the frame later, or says
        that it will not be; `told` hears when there is something new, `held` once it has compared `ENOUGH`
        frames, `disagreed` of each disagreement.
        """
        self.camera = camera
        self.settings = settings
        self.candidate: Candidate | None = None
        self.latest: tuple[Scored, Decision | None] | None = None
        """The frame that was taken up last, and what the candidate said of it; None where it could not."""
        self.trouble: str | None = None
        self.skipped = 0
        self.failed = 0
        self.withheld = 0
        """Disagreements that were not published."""
        self._load = load
        self._queue = queue
        self._told = told
        self._held = held
        self._disagreed = disagreed
        self._lock = threading.Lock()
        self._waiting = 0
        self._behind = False
        self._retired = False
        self._has_held = False
        self._tried: Path | None = None
        self._rest_seconds = _FIRST_REST
        self._rests_until = 0.0
        self._logged: str | None = None
        self._published: deque[float] = deque()

    @property
    def outdated(self) -> bool:
        """Whether the candidate's link points elsewhere than when loading it was tried last."""
        return self._tried is not None and resolved(self.camera.bundle) != self._tried

    @property
    def standing(self) -> Standing:
        """How the two compare so far."""
        return Standing() if self.candidate is None else self.candidate.comparison.standing

    def figures(self) -> ShadowFigures:
        """For Prometheus."""
        standing = self.standing
        return ShadowFigures(
            frames={
                "compared": standing.compared,
                "agreed": standing.agreed,
                "skipped": self.skipped,
                "failed": self.failed,
            },
            episodes={"both": standing.both, "live": standing.live_only, "candidate": standing.candidate_only},
            difference=standing.mean_difference,
        )

    def offer(self, scored: Scored) -> None:
        """Let the candidate judge a frame too, unless it is behind; never waits for it."""
        with self._lock:
            room = self._waiting < WAITING
            self._waiting += room
        if room and self._queue(self, scored):
            return
        with self._lock:
            self._waiting -= room
            self.skipped += 1
        if not self._behind and self.candidate is not None:
            self._behind = True
            log.warning(
                "the shadow does not keep up: frames are left out of the comparison and counted",
                extra={"camera": scored.lane.name},
            )
        self._tell(scored.lane)

    def may_publish(self) -> bool:
        """Whether one more disagreement is within the number per hour; counted as published or withheld."""
        now = time.monotonic()
        while self._published and now - self._published[0] >= _HOUR:
            self._published.popleft()
        if len(self._published) >= self.settings.disagreements_per_hour:
            self.withheld += 1
            return False
        self._published.append(now)
        return True

    def retire(self) -> None:
        """Judge nothing more: frames that wait are left."""
        self._retired = True

    def judge(self, scored: Scored) -> None:
        """Let the candidate judge a frame that was offered; frames come in order."""
        try:
            if self._retired:
                return
            if time.monotonic() < self._rests_until:
                self.latest = scored, None
                with self._lock:
                    self.skipped += 1
            else:
                self._try(scored)
        finally:
            with self._lock:
                self._waiting -= 1
        self._tell(scored.lane)

    def _tell(self, lane: Lane) -> None:
        try:
            self._told(lane, self)
        except Exception as error:
            # In the scoring thread, perhaps: that nothing can be said must not cost the frame.
            self._log(lane, "cannot be told of", error)

    def _try(self, scored: Scored) -> None:
        try:
            if self.candidate is None:
                self._open(scored)
            disagreements = self._compare(scored)
        except Exception as error:
            # Whatever it is: the candidate's trouble must be nobody else's.
            self._fail(scored, error)
            return
        self.trouble = None
        self._rest_seconds = _FIRST_REST
        if not self._has_held and self.standing.compared >= ENOUGH:
            self._has_held = True
            self._held(self)
        for one in disagreements:
            self._disagreed(self, one)

    def _open(self, scored: Scored) -> None:
        live = scored.lane.model
        self._tried = resolved(self.camera.bundle)
        judge = FrameJudge(self._load(self.camera, live), self.camera, armed=False)
        self.candidate = Candidate(
            judge, Comparison(scored.rules, judge.rules, self.settings.within_seconds), scored.due.time
        )
        with self._lock:
            self.skipped = self.failed = 0
        manifest = judge.model.manifest
        log.info(
            "shadow: %s %s %s is compared with the camera's bundle; %s",
            manifest.name,
            manifest.version,
            judge.model.precision,
            "they share the CNN" if judge.model.shares_features(live) else "it runs its own CNN",
            extra={"camera": scored.lane.name},
        )

    def _compare(self, scored: Scored) -> list[Disagreement[Moment]]:
        assert self.candidate is not None
        judge, comparison = self.candidate.judge, self.candidate.comparison
        size, due = judge.model.manifest.input, scored.due
        if due.image.shape[:2] == (size.height, size.width):
            taken = judge.take_seen(due.image, due.time)
        else:
            taken = judge.take(scored.frame.image, due.time)
        if taken is None:
            # A model of a longer frame interval.
            return []
        shares = judge.model.shares_features(scored.lane.model)
        decision, _ = judge.decide(taken, scored.sample if shares else None)
        full = judge.detector.logits is not None
        if full and not (decision.warm and all(_NEARLY[0] < score < _NEARLY[1] for score in decision.scores.values())):
            raise InputError(f"{judge.model.bundle.path}: its scores are not from 0 to 1; export the model again")
        self.latest = scored, decision
        comparison.follow(scored.rules)
        return comparison.push(scored.decision, decision, lambda: Moment(scored, judge.snapshot()))

    def _fail(self, scored: Scored, error: Exception) -> None:
        self.latest = scored, None
        with self._lock:
            self.failed += 1
        self._rests_until = time.monotonic() + self._rest_seconds
        self._rest_seconds = min(2 * self._rest_seconds, _LAST_REST)
        self.trouble = _line(error)
        self._log(scored.lane, "fails", error)

    def _log(self, lane: Lane, what: str, error: Exception) -> None:
        """Log what went wrong, once, not for each frame."""
        line = f"the shadow {what}, the camera's bundle goes on: {_line(error)}"
        if line != self._logged:
            self._logged = line
            known = isinstance(error, WhycamError)
            log.error(line, exc_info=None if known else error, extra={"camera": lane.name})


def _line(error: Exception) -> str:
    return str(error) if isinstance(error, WhycamError) else f"{type(error).__name__}: {error}"
