"""A camera's judge: from its frames to the events of its episodes, alike in the service and in a replay."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from whycam.alerts.episodes import AlertEvent, AlertTracker, Episode, Reason
from whycam.alerts.motion import MotionGate
from whycam.alerts.rules import rules_of
from whycam.alerts.zones import Watch
from whycam.bundle import Manifest
from whycam.config.models import Camera
from whycam.cuda.array import Picture
from whycam.detect import Decision, Detector, Due, Model, Snapshot
from whycam.detect.ring import Sample
from whycam.errors import InputError
from whycam.sources.frame import Frame, check_image


class FrameJudge:
    """Zones, motion gate, detector and episodes of one camera.

    Not safe for several threads at once, but one may `take` while another does the rest, and any may `see`.
    """

    def __init__(
        self, model: Model, config: Camera, open_episodes: Sequence[Episode] = (), *, armed: bool = True
    ) -> None:
        """A judge with an empty window; `open_episodes` were raised before, and carry on."""
        self.watch = Watch(config.zones)
        self.thresholds = thresholds_of(config, model.manifest)
        self.armed = armed
        self._alert = config.alert
        self._detector = Detector(model)
        self._gate = (
            MotionGate(config.motion.threshold, config.motion.refresh_seconds) if config.motion.enabled else None
        )
        self.rules = rules_of(self._alert, self.thresholds, model.manifest)
        self._tracker = AlertTracker(self.rules, open_episodes)

    @property
    def open_episodes(self) -> tuple[Episode, ...]:
        """The episodes that are raised and not cleared."""
        return self._tracker.open

    @property
    def suppressed(self) -> int:
        """Runs above a threshold that a cool-down kept from being raised."""
        return self._tracker.suppressed

    @property
    def detector(self) -> Detector:
        """What decides."""
        return self._detector

    @property
    def model(self) -> Model:
        """The model that judges."""
        return self._detector.model

    def push(self, image: NDArray[np.uint8], time: float) -> tuple[Decision | None, list[AlertEvent]]:
        """Judge a frame, uint8 [H, W, 3] BGR of any size, at `time` (seconds); None where it was not due."""
        due = self.take(image, time)
        return (None, []) if due is None else self.decide(due)

    def see(self, frame: Frame) -> Picture:
        """A frame as the model may see it: its zones alone, at the model's size."""
        # A GPU converts as it resizes. The CPU does it once for all, for people will see the frame too.
        whole = self.model.pool is not None and not self.watch.covers
        return self.model.see(frame.pixels if whole else self.watch.apply(frame.image))

    def take(self, image: NDArray[np.uint8], time: float) -> Due | None:
        """The first half of `push`; None where the frame was not due."""
        if not self._detector.is_due(time):
            return self._detector.take(image, time)
        check_image(image)
        return self.take_seen(self.see(Frame(image, time)), time)

    def take_seen(self, image: Picture, time: float) -> Due | None:
        """As `take`, of a picture that comes from `see`."""
        if not self._detector.is_due(time):
            return self._detector.take(image, time)
        still = self._gate is not None and self._gate.still(np.asarray(image), time)
        return self._detector.take(image, time, still=still)

    def decide(self, due: Due, sample: Sample | None = None) -> tuple[Decision, list[AlertEvent]]:
        """The second half of `push`, in the order in which frames were taken; see `Detector.decide`."""
        decision = self._detector.decide(due, sample)
        if decision.warm and not all(map(math.isfinite, decision.scores.values())):
            # A model that gives no numbers says nothing, however full its window: nobody may be told a score of it.
            decision = Decision(due.time, dict.fromkeys(decision.scores, math.nan), label=None, warm=False, alert=False)
        return decision, self._tracker.push(decision) if self.armed else []

    def is_due(self, time: float) -> bool:
        """Whether a frame at `time` (seconds) would be judged; may be asked from another thread."""
        return self._detector.is_due(time)

    def retire(self) -> tuple[Episode, ...]:
        """Follow the open episodes no longer: they are the caller's, to carry on elsewhere."""
        return self._tracker.retire()

    def snapshot(self) -> Snapshot:
        """The window as it is now; raises InputError while it is cold."""
        return self._detector.snapshot()

    def set_thresholds(self, thresholds: Mapping[str, float]) -> None:
        """Raise at these scores from now on; all classes are named."""
        self.thresholds = dict(thresholds)
        self.rules = rules_of(self._alert, self.thresholds, self._detector.manifest)
        self._tracker.reconfigure(self.rules)

    def set_armed(self, armed: bool, time: float) -> list[AlertEvent]:
        """Arm, or disarm, which clears the open episodes; decisions go on."""
        self.armed = armed
        return [] if armed else self._tracker.close(time, "disarmed")

    def tick(self, time: float) -> list[AlertEvent]:
        """Let time pass: an episode of which nothing has been seen for long is cleared."""
        return self._tracker.tick(time)

    def close(self, time: float, reason: Reason) -> list[AlertEvent]:
        """Clear the open episodes."""
        return self._tracker.close(time, reason)

    def restate(self, episode: str, time: float, reason: Reason) -> list[AlertEvent]:
        """Tell once more how an open episode stands; nothing where it is cleared by now."""
        return self._tracker.restate(episode, time, reason)


def thresholds_of(config: Camera, manifest: Manifest) -> dict[str, float]:
    """The score at which each class raises: the camera's own, else the bundle's.

    Raises InputError for a threshold of a class that never raises.
    """
    if isinstance(config.threshold, float):
        return dict.fromkeys(manifest.anomalies, config.threshold)
    own = config.threshold or {}
    check_classes(config.name, own, manifest)
    return {name: own.get(name, manifest.thresholds[name]) for name in manifest.anomalies}


def check_classes(camera: str, thresholds: Iterable[str], manifest: Manifest) -> None:
    """Raise InputError, naming those there are, for a threshold of `camera` whose class never raises."""
    for name in thresholds:
        if name not in manifest.anomalies:
            raise InputError(
                f"camera '{camera}': threshold of '{name}': bundle '{manifest.name}' raises alerts for "
                f"{', '.join(manifest.anomalies)}"
            )
