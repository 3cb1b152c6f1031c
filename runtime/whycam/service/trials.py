"""Bundles on trial: they have to score frames, or the version before takes their place again.

The service judges them by itself, so a bundle that takes it down must be found out at the next start: how often a
service has begun to run a version, and did not end in order, is on the disk before the version is loaded.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

from whycam.config.models import Camera as CameraConfig
from whycam.deployment.slot import Slot, resolved, slot_of
from whycam.errors import InputError
from whycam.service.lane import Lane
from whycam.service.states import State

log = logging.getLogger(__name__)

ENOUGH = 3
"""Frames of a camera that must have been scored."""
DEATHS = 2
"""So many services may end out of order with a version on trial; the next one goes back before it loads anything."""
_SETTLE_SECONDS = 10.0
"""Other cameras of the bundle, which connect later, are waited for at most so long."""
_FAILING_SECONDS = 10.0
"""Frames that fail, and none that does not: so long, and no longer, trouble may be another's."""
_COMES = (State.COLD, State.RUNNING)
"""The states in which a camera gives frames that can be scored."""


@dataclass
class _Trial:
    """A version on trial that this process runs."""

    slot: Slot
    id: str
    delivering: WeakKeyDictionary[Lane, float] = field(default_factory=WeakKeyDictionary)
    """Since when its frames come, monotonic seconds."""
    unwritable: bool = False
    """That the disk does not take its end was told."""


class Trials:
    """The trials of the bundles that cameras run; the main thread's."""

    def __init__(self, grace_seconds: float, trusts: Callable[[Path], bool] = lambda _: True) -> None:
        """With so long for a bundle to score the frames that come; `trusts` the bundles in folders that may be run."""
        self.rollbacks = 0
        self.barred: dict[Path, str] = {}
        """Versions that must not be loaded, by their folders: why."""
        self._grace = grace_seconds
        self._trusts = trusts
        self._trials: dict[Path, _Trial] = {}

    def finish(self, cameras: Iterable[CameraConfig]) -> None:
        """Finish, or take back, what a power cut has left half done in the stores of these cameras' bundles."""
        for slot in _slots(cameras):
            _finish(slot)

    def begin(self, cameras: Iterable[CameraConfig]) -> None:
        """Count that the versions on trial of these cameras are to be run now; before they are loaded.

        One that has taken down the service too often is taken back instead, or barred where none is before it.
        """
        for slot in _slots(cameras):
            try:
                found = slot.look()
            except OSError:
                # Its disk is away; who cannot load the bundle says so.
                continue
            trial = found.trial
            if trial is None or found.current is None:
                self._trials.pop(slot.folder, None)
                continue
            path = resolved(slot.path_of(trial.id))
            if trial.failed is not None:
                self.barred[path] = f"bundle '{slot.name}': {trial.failed}; install it again, or another version"
                continue
            known = self._trials.get(slot.folder)
            if trial.starts < DEATHS:
                self.barred.pop(path, None)
            if known is not None and known.id == trial.id:
                continue
            self._trials[slot.folder] = _Trial(slot, trial.id)
            if trial.starts < DEATHS:
                self._counted(slot, 1)
                continue
            reason = f"the service ended {trial.starts} times while it was on trial"
            if not self._take_back(slot.folder, reason):
                failed = slot.look().trial
                why = reason if failed is None or failed.failed is None else failed.failed
                self.barred[path] = f"bundle '{slot.name}': {why}; install another version"

    def refused(self, cameras: Mapping[str, tuple[CameraConfig, str]]) -> bool:
        """These could not be set up, by name, with the reason; whether a version is taken back for that."""
        changed = False
        for name, (camera, reason) in cameras.items():
            for folder, trial in tuple(self._trials.items()):
                if trial.slot.is_named_by(camera.bundle) and trial.slot.current == trial.id:
                    changed |= self._take_back(folder, f"camera '{name}' could not be set up with it: {reason}")
        return changed

    def judge(self, lanes: Collection[Lane], *, stuck_seconds: float | None = None) -> bool:
        """Whether a version is taken back now; those that have held are confirmed.

        `stuck_seconds` says that scoring hangs, and for how long.
        """
        changed = False
        for folder, trial in tuple(self._trials.items()):
            current = trial.slot.current
            if current != trial.id:
                # Where there is none, its disk is away for now.
                if current is not None:
                    del self._trials[folder]
                continue
            path = resolved(trial.slot.path_of(trial.id))
            own = [lane for lane in lanes if lane.model.bundle.path == path]
            reason = self._fault(trial, own)
            if stuck_seconds is not None:
                reason = f"a frame was being scored for {stuck_seconds:.0f} s"
            if reason is not None:
                changed |= self._take_back(folder, reason)
            elif self._holds(trial, own):
                self._confirm(folder)
        return changed

    def end(self) -> None:
        """The service ends in order: nobody has died of what is on trial."""
        for trial in self._trials.values():
            self._counted(trial.slot, -1)

    def _fault(self, trial: _Trial, lanes: Collection[Lane]) -> str | None:
        """What the bundle has failed in, by now."""
        now = time.monotonic()
        for lane in lanes:
            if not lane.camera.counters.captured:
                continue
            if lane.camera.state.state not in _COMES and lane.scored < ENOUGH and not lane.failures:
                # Away again before it could be judged by them.
                trial.delivering.pop(lane, None)
                continue
            since = now - trial.delivering.setdefault(lane, now)
            failing = lane.failures > 0 and lane.scored == 0 and since > _FAILING_SECONDS
            if failing or (since > self._grace and lane.scored < ENOUGH):
                few = f"only {lane.scored} were scored" if lane.scored else "none was scored"
                what = f"{lane.failures} frames could not be scored" if lane.failures else few
                return f"camera '{lane.name}' gave frames for {since:.0f} s, and {what}"
            if since > self._grace and lane.failures and not lane.scored_warm:
                return f"camera '{lane.name}': frames fail as soon as a window is full"
        return None

    def _holds(self, trial: _Trial, lanes: Collection[Lane]) -> bool:
        """Whether all cameras that deliver frames have had some scored, with a full window where there can be one."""
        delivering = [lane for lane in lanes if lane in trial.delivering]
        if not delivering:
            return False
        waited = time.monotonic() - min(trial.delivering[lane] for lane in delivering)
        if len(delivering) < len(lanes) and waited < min(_SETTLE_SECONDS, self._grace):
            return False
        # A camera with gaps may never fill a window; then scores while it is cold must do, at the end of the grace.
        return all(lane.scored >= ENOUGH and (lane.scored_warm or waited > self._grace) for lane in delivering)

    def _confirm(self, folder: Path) -> None:
        trial = self._trials[folder]
        try:
            with trial.slot.changing():
                confirmed = trial.slot.confirm(trial.id)
        except InputError as error:
            self._not_kept(trial, "has held", error)
            return
        del self._trials[folder]
        if confirmed:
            log.info("bundle '%s': %s has held", trial.slot.name, trial.id)

    def _take_back(self, folder: Path, reason: str) -> bool:
        """Go back to the version before; False where there is none that is trusted, or that cannot be for now."""
        trial = self._trials[folder]
        slot = trial.slot
        try:
            with slot.changing():
                before = slot.look().before
                trusted = before is not None and self._trusts(slot.path_of(before))
                if before is not None and not trusted:
                    # Its cameras would be left out all the same, from the next start on.
                    reason += ", and the version before it is not trusted here any more"
                event = slot.go_back(reason) if trusted else None
                if event is None:
                    slot.fail_trial(reason)
        except InputError as error:
            self._not_kept(trial, reason, error)
            return False
        del self._trials[folder]
        if event is None:
            nothing = "there is no version to go back to"
            log.error("bundle '%s': %s%s", slot.name, reason, "" if before is not None else f"; {nothing}")
            return False
        self.rollbacks += 1
        log.error("bundle '%s': %s is taken back, %s takes its place: %s", slot.name, event.id, event.previous, reason)
        return True

    @staticmethod
    def _not_kept(trial: _Trial, what: str, error: InputError) -> None:
        """It is tried again, each second; told once."""
        if not trial.unwritable:
            trial.unwritable = True
            log.error("bundle '%s': %s: %s; the disk does not take it (%s)", trial.slot.name, trial.id, what, error)

    @staticmethod
    def _counted(slot: Slot, by: int) -> None:
        try:
            with slot.changing():
                slot.count_start(by)
        except InputError as error:
            log.warning("bundle '%s': that it is tried cannot be kept (%s)", slot.name, error)


def _finish(slot: Slot) -> None:
    try:
        with slot.changing():
            pass
    except InputError as error:
        log.warning("bundle '%s': the store cannot be put in order (%s)", slot.name, error)


def _slots(cameras: Iterable[CameraConfig]) -> list[Slot]:
    found = [slot for camera in cameras if (slot := slot_of(camera.bundle)) is not None]
    return list({slot.folder: slot for slot in found}.values())
