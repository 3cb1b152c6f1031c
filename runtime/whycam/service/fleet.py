"""The cameras of a service: those that are followed, and those that cannot be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from whycam.alerts.episodes import Reason, cleared
from whycam.alerts.outbox import Outbox
from whycam.config.models import Camera as CameraConfig
from whycam.detect import Model
from whycam.drift import DriftReport
from whycam.errors import WhycamError
from whycam.service.clock import Clock
from whycam.service.lane import Follower, Lane, carried_on
from whycam.service.models import Models
from whycam.service.reporting import Reporter
from whycam.service.scoring import Scoring
from whycam.service.settings import CameraSettings, Settings
from whycam.sources import Frame

log = logging.getLogger(__name__)

_IDLE_SECONDS = 5.0
"""What the old lanes have said is waited for at most so long, before new ones take their place."""

_NONE: Mapping[str, Model] = {}


class Fleet:
    """All cameras that the configuration names; one whose model does not load does not hold up the others.

    The main thread changes it; other threads look at it.
    """

    def __init__(
        self,
        clock: Clock,
        settings: Settings,
        outbox: Outbox,
        models: Models,
        reporter: Reporter,
        scoring: Scoring,
        *,
        footage_seconds: float,
        changed: Callable[[Lane], None],
        picture: Callable[[Lane, Frame], None],
        drifted: Callable[[Lane, DriftReport], None],
        follower: Callable[[CameraConfig], Follower | None],
    ) -> None:
        """No camera yet; `changed`, `picture` and `drifted` are every lane's; `follower` makes what runs beside one."""
        self.names: frozenset[str] = frozenset()
        """The cameras that the configuration names."""
        self.lanes: dict[str, Lane] = {}
        self.broken: dict[str, tuple[CameraConfig, str, float]] = {}
        """The cameras that could not be set up: why, and when that was tried last, in service time."""
        self._clock = clock
        self._settings = settings
        self._outbox = outbox
        self._models = models
        self._reporter = reporter
        self._scoring = scoring
        self._footage_seconds = footage_seconds
        self._changed = changed
        self._picture = picture
        self._drifted = drifted
        self._follower = follower

    def open(self, cameras: Sequence[CameraConfig]) -> None:
        """Make the lanes of `cameras`; they are not started."""
        self.names = frozenset(camera.name for camera in cameras)
        self._open_lanes(cameras, {})

    def start(self) -> None:
        """Connect to the cameras."""
        for lane in self.lanes.values():
            lane.camera.start()

    def serve(self) -> None:
        """Score the lanes that there are."""
        self._scoring.serve(tuple(self.lanes.values()))

    def stop(self) -> None:
        """Take no more frames, without waiting for the cameras."""
        for lane in self.lanes.values():
            lane.camera.stop(0)

    def reopen_broken(self) -> list[Lane]:
        """Make the lanes of cameras that were left out, where that can be by now; they are not started."""
        cameras = [camera for camera, _, _ in self.broken.values()]
        self._open_lanes(cameras, {})
        new = [self.lanes[camera.name] for camera in cameras if camera.name in self.lanes]
        for lane in new:
            log.info("set up after all", extra={"camera": lane.name})
        return new

    def retry_broken(self) -> bool:
        """Try the cameras again that were left out, as a disk with their bundle may be there by now; whether one is."""
        new = self.reopen_broken()
        self.serve()
        for lane in new:
            lane.camera.start()
        return bool(new)

    def change_to(self, cameras: Sequence[CameraConfig], loaded: Mapping[str, Model] = _NONE) -> int:
        """Follow `cameras` from now on, those that are the same untouched; how many are new or changed.

        Those of which a model is `loaded` already, by name, are followed anew with that.
        """
        wanted = {camera.name: camera for camera in cameras}
        followed = self._follow_anew(wanted)
        gone = {name: lane for name, lane in self.lanes.items() if wanted.get(name) != lane.config or name in loaded}
        for name, lane in gone.items():
            lane.camera.stop(0)
            lane.follow_with(None, lane.config)
            del self.lanes[name]
        self.serve()
        for name, lane in gone.items():
            if name not in wanted:
                lane.close("removed")
        # What the old lanes have said is in the outbox before the new ones speak.
        self._reporter.alerts.idle(_IDLE_SECONDS)
        for name in set(self.broken) - set(wanted):
            del self.broken[name]
        self.names = frozenset(wanted)
        self._models.keep([*(lane.model for lane in self.lanes.values()), *loaded.values()])
        new = [camera for camera in cameras if camera.name not in self.lanes]
        self._open_lanes(new, gone)
        self.serve()
        for camera in new:
            if camera.name in self.lanes:
                self.lanes[camera.name].camera.start()
        return len(new) + followed

    def renew_followers(self) -> None:
        """Exchange the shadows whose candidate's link points elsewhere by now, without a word to their lanes."""
        for name, lane in self.lanes.items():
            if lane.follower is not None and lane.follower.outdated:
                log.info("the shadow's bundle is another now", extra={"camera": name})
                lane.follow_with(self._follower(lane.config), lane.config)

    def _follow_anew(self, wanted: Mapping[str, CameraConfig]) -> int:
        """Exchange the shadows of lanes of which nothing else has changed, without a word to them; how many."""
        changed = 0
        for name, lane in self.lanes.items():
            camera = wanted.get(name)
            if camera is not None and camera != lane.config and _without_shadow(camera) == _without_shadow(lane.config):
                lane.follow_with(self._follower(camera), camera)
                changed += 1
        return changed

    def _open_lanes(self, cameras: Sequence[CameraConfig], carried: Mapping[str, Lane]) -> None:
        """Make the lanes of `cameras`; one whose model does not load is told of, the others go on."""
        for camera in cameras:
            try:
                model = self._models.of(camera)
                settings = self._known(camera.name, model)
                before = carried.get(camera.name)
                lane = Lane(
                    camera,
                    model,
                    settings,
                    before.retire() if before else carried_on(self._outbox.open_episodes(camera.name), self._clock),
                    self._clock,
                    footage_seconds=self._footage_seconds,
                    ready=self._scoring.wake,
                    changed=self._changed,
                    emit=self._reporter.alerts.put,
                    picture=self._picture,
                    drifted=self._drifted,
                )
            except Exception as error:
                if not isinstance(error, WhycamError):
                    log.exception("camera '%s' could not be set up", camera.name, extra={"camera": camera.name})
                if camera.name not in self.broken or self.broken[camera.name][1] != str(error):
                    log.error("camera '%s' is left out: %s", camera.name, error, extra={"camera": camera.name})
                self.broken[camera.name] = (camera, str(error), self._clock.now())
                continue
            lane.follow_with(self._follower(camera), camera)
            self.broken.pop(camera.name, None)
            self.lanes[camera.name] = lane
        self._clear_orphans({camera.name for camera in cameras})

    def _clear_orphans(self, opened: Collection[str]) -> None:
        """Clear what nobody follows any more: removed while the service was away, camera or class, or disarmed."""
        for name in self._outbox.open_cameras():
            lane = self.lanes.get(name)
            if name in self.broken or (lane is not None and name not in opened):
                continue
            followed = {episode.id for episode in lane.open_episodes} if lane else set()
            episodes = carried_on(self._outbox.open_episodes(name), self._clock)
            reason: Reason = "disarmed" if lane and not lane.armed else "removed"
            orphans = [cleared(one, self._clock.now(), reason) for one in episodes if one.id not in followed]
            if orphans:
                self._reporter.forget(name, orphans, [one for one in episodes if one.id in followed])

    def _known(self, camera: str, model: Model) -> CameraSettings:
        """What was set for the camera, without classes that its model no longer has."""
        settings = self._settings.of(camera)
        kept = {name: value for name, value in settings.thresholds.items() if name in model.manifest.anomalies}
        return CameraSettings(armed=settings.armed, thresholds=kept)


def _without_shadow(camera: CameraConfig) -> CameraConfig:
    return camera.model_copy(update={"shadow": None})
