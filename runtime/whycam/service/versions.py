"""Which versions of their bundles the cameras run: links that are switched are followed, trials judged and ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from whycam.config.models import Camera as CameraConfig
from whycam.deployment.slot import resolved
from whycam.detect import Model
from whycam.service.fleet import Fleet
from whycam.service.models import Models
from whycam.service.scoring import STUCK_SECONDS, Scoring
from whycam.service.trials import Trials

log = logging.getLogger(__name__)

_HANGING_SECONDS = 5.0
"""No batch takes longer; see `scoring.BATCH_SECONDS`."""


class Versions:
    """Looks after the bundles of a fleet; the main thread's."""

    def __init__(
        self,
        fleet: Fleet,
        models: Models,
        trials: Trials,
        scoring: Scoring,
        stopping: Callable[[], bool],
    ) -> None:
        """Those that `fleet` runs; `stopping` says that models do not load because the service ends."""
        self.hung = False
        """Scoring hangs in a version that was taken back: this process is of no more use."""
        self._fleet = fleet
        self._models = models
        self._trials = trials
        self._scoring = scoring
        self._stopping = stopping
        self._refused: dict[str, Path] = {}
        self._broken_at: dict[str, Path] = {}

    def open(self, cameras: Sequence[CameraConfig]) -> None:
        """Make the lanes of `cameras`, of the versions before where those on trial cannot be set up."""
        self._trials.finish(cameras)
        self._trials.begin(cameras)
        self._fleet.open(cameras)
        while not self._stopping() and self._take_back_broken():
            self._trials.begin(cameras)
            self._fleet.reopen_broken()

    def follow(self, cameras: Sequence[CameraConfig]) -> bool:
        """Let the lanes whose link points to another version run that, loaded beforehand; whether any does now.

        A lane whose new version does not load goes on with the one that it has; where that was on trial, it is taken
        back.
        """
        self._trials.begin(cameras)
        loaded: dict[str, Model] = {}
        for name, lane in self._fleet.lanes.items():
            path = resolved(lane.config.bundle)
            if not lane.outdated or self._refused.get(name) == path:
                continue
            log.info("bundle: to be changed for %s", path.name, extra={"camera": name})
            try:
                loaded[name] = self._models.of(lane.config)
                self._refused.pop(name, None)
            except Exception as error:
                if self._stopping():
                    return False
                self._refused[name] = path
                log.error("the new version is not loaded, the one before goes on: %s", error, extra={"camera": name})
                self._trials.refused({name: (lane.config, str(error))})
        # What was taken back meanwhile is not followed.
        loaded = {name: model for name, model in loaded.items() if self._fleet.lanes[name].outdated}
        if loaded:
            self._fleet.change_to(cameras, loaded)
        return bool(loaded)

    def look_after(self, cameras: Sequence[CameraConfig]) -> bool:
        """Follow links and judge trials; whether cameras run other versions now.

        Where scoring hangs, what is on trial is taken back, and `hung` set: nothing can end a graph that runs.
        """
        stuck = self._scoring.stuck_seconds
        if stuck >= STUCK_SECONDS and self._scoring.hangs(_HANGING_SECONDS):
            self.hung = self._trials.judge(tuple(self._fleet.lanes.values()), stuck_seconds=stuck)
            return False
        changed = self._try_again(cameras)
        changed |= self.follow(cameras)
        taken_back = self._take_back_broken() or self._trials.judge(tuple(self._fleet.lanes.values()))
        if taken_back:
            self._refused.clear()
            if self._scoring.hangs(_HANGING_SECONDS):
                self.hung = True
                return False
            changed |= self.follow(cameras)
            changed |= bool(self._fleet.broken) and self._fleet.retry_broken()
        self._fleet.renew_followers()
        return changed

    def _try_again(self, cameras: Sequence[CameraConfig]) -> bool:
        """Set up cameras that were left out and have another version by now, or the same again; whether one is."""
        barred = set(self._trials.barred)
        self._trials.begin(cameras)
        paths = {name: resolved(camera.bundle) for name, (camera, _, _) in self._fleet.broken.items()}
        moved = any(self._broken_at.get(name, path) != path for name, path in paths.items())
        self._broken_at = paths
        return (moved or bool(barred - set(self._trials.barred))) and self._fleet.retry_broken()

    def _take_back_broken(self) -> bool:
        broken = {name: (camera, reason) for name, (camera, reason, _) in self._fleet.broken.items()}
        return self._trials.refused(broken)
