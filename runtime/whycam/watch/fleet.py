"""What is known of all devices, in bounded memory: whoever may publish at the broker may also publish nonsense."""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar, get_args

from whycam.mqtt.payloads import (
    AlertPayload,
    BundlesPayload,
    DriftPayload,
    Phase,
    ScorePayload,
    ShadowPayload,
    StatePayload,
    TelemetryPayload,
)
from whycam.watch.reading import RETAINED, Event
from whycam.watch.trim import Trim

DEVICES = 1000
CAMERAS = 2000
"""Of all devices together."""
CAMERAS_PER_DEVICE = 64
EPISODES_PER_CAMERA = 64

_Value = TypeVar("_Value")


@dataclass
class Latest(Generic[_Value]):
    """What was said last, until it is too old to be true."""

    at_least_seconds: float
    """It holds for so long, or for three times the shorter of the two pauses before it: one may have been a silence."""
    value: _Value | None = None
    _at: float = -math.inf
    _pauses: tuple[float, ...] = ()

    def put(self, value: _Value) -> None:
        """Say this from now on."""
        now = time.monotonic()
        if self.value is not None:
            self._pauses = (*self._pauses[-1:], now - self._at)
        self.value, self._at = value, now

    def get(self) -> _Value | None:
        """What was said; None where it is too old."""
        fresh = time.monotonic() - self._at <= max(self.at_least_seconds, 3 * min(self._pauses, default=0.0))
        return self.value if fresh else None

    def clear(self) -> None:
        """Nothing is known any more."""
        self.value, self._at, self._pauses = None, -math.inf, ()


@dataclass
class Camera:
    """What is known of a camera."""

    state: StatePayload | None = None
    drift: DriftPayload | None = None
    score: Latest[ScorePayload] = field(default_factory=lambda: Latest(60))
    shadow: Latest[ShadowPayload] = field(default_factory=lambda: Latest(60))
    alerts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Alert messages by phase and label, since we began; 0 is there too, for labels that have not alerted yet."""
    open: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """Episodes that were raised and not cleared: id, label."""

    def lose_sight(self) -> None:
        """Forget how it was; what was counted stays."""
        self.state = self.drift = None
        self.score.clear()
        self.shadow.clear()
        self.open.clear()


@dataclass
class Device:
    """What is known of a device."""

    online: bool | None = None
    """None: not known."""
    telemetry: Latest[TelemetryPayload] = field(default_factory=lambda: Latest(300))
    clock_offset: float | None = None
    """Seconds that its clock was ahead of ours when the telemetry came, less its way here; None: it names no time."""
    bundles: BundlesPayload | None = None
    cameras: dict[str, Camera] = field(default_factory=dict)

    def lose_sight(self) -> None:
        """Forget how it was; what was counted stays."""
        self.bundles = None
        self.telemetry.clear()
        for camera in self.cameras.values():
            camera.lose_sight()


class Fleet:
    """Takes in what devices say. Not thread-safe."""

    def __init__(self, devices: int = DEVICES, cameras: int = CAMERAS) -> None:
        """Nothing is known yet, and never of more than so many."""
        self.devices: dict[str, Device] = {}
        self.trim = Trim()
        """What was left out, and why."""
        self._most_devices, self._most_cameras = devices, cameras

    @property
    def cameras(self) -> int:
        """How many cameras are known."""
        return sum(len(device.cameras) for device in self.devices.values())

    def take(self, event: Event) -> None:
        """Take in what `event` says."""
        if event.kind in RETAINED and event.payload is None and event.data is None:
            self._remove(event)
            return
        device = self._device(event.device)
        if device is None:
            return
        if event.kind == "availability":
            self._availability(device, event.data == "online")
        elif isinstance(event.payload, TelemetryPayload):
            device.clock_offset = _ahead(event.payload.time)
            device.telemetry.put(self.trim.telemetry(event.payload))
        elif isinstance(event.payload, BundlesPayload):
            device.bundles = self.trim.bundles(event.payload)
        elif event.camera is not None and (camera := self._camera(device, event.camera)) is not None:
            self._of_camera(camera, event)

    def lose_sight(self) -> None:
        """The broker is gone: forget how everything was; what was counted stays.

        What is retained comes again with the next connection. What was taken back meanwhile does not.
        """
        for device in self.devices.values():
            device.online = None
            device.lose_sight()

    def _availability(self, device: Device, online: bool) -> None:
        device.online = online
        if not online:
            # Its states are retained, and said again when it is back.
            device.telemetry.clear()
            for camera in device.cameras.values():
                camera.score.clear()
                camera.shadow.clear()

    def _of_camera(self, camera: Camera, event: Event) -> None:
        if isinstance(event.payload, StatePayload):
            camera.state = self.trim.state(event.payload)
            for key in ((phase, label) for label in camera.state.thresholds for phase in get_args(Phase)):
                if self.trim.fits(key, camera.alerts):
                    camera.alerts.setdefault(key, 0)
        elif isinstance(event.payload, DriftPayload):
            camera.drift = self.trim.drift(event.payload)
        elif isinstance(event.payload, ScorePayload):
            camera.score.put(self.trim.score(event.payload))
        elif isinstance(event.payload, ShadowPayload):
            camera.shadow.put(self.trim.shadow(event.payload))
        elif isinstance(event.payload, AlertPayload):
            self._alert(camera, event.payload)

    def _alert(self, camera: Camera, alert: AlertPayload) -> None:
        key = (alert.phase, alert.label)
        if not self.trim.fits(key, camera.alerts):
            return
        camera.alerts[key] += 1
        camera.open.pop(alert.id, None)
        if alert.phase != "cleared":
            camera.open[alert.id] = alert.label
            if len(camera.open) > EPISODES_PER_CAMERA:
                camera.open.popitem(last=False)

    def _remove(self, event: Event) -> None:
        if event.kind == "availability":
            self.devices.pop(event.device, None)
        elif event.kind == "bundles" and event.device in self.devices:
            self.devices[event.device].bundles = None
        elif event.device in self.devices and event.camera is not None:
            cameras = self.devices[event.device].cameras
            if event.kind == "state":
                cameras.pop(event.camera, None)
            elif event.camera in cameras:
                cameras[event.camera].drift = None

    def _device(self, name: str) -> Device | None:
        if name not in self.devices and len(self.devices) >= self._most_devices:
            self.trim.left_out["device"] += 1
            return None
        return self.devices.setdefault(name, Device())

    def _camera(self, device: Device, name: str) -> Camera | None:
        if name not in device.cameras:
            if len(device.cameras) >= CAMERAS_PER_DEVICE or self.cameras >= self._most_cameras:
                self.trim.left_out["camera"] += 1
                return None
            device.cameras[name] = Camera()
        return device.cameras[name]


def _ahead(told: str) -> float | None:
    try:
        then = datetime.fromisoformat(told.replace("Z", "+00:00"))
    except ValueError:
        return None
    return then.timestamp() - time.time()


def open_by_label(camera: Camera) -> Mapping[str, int]:
    """How many episodes are open, by label; 0 for labels that have none."""
    return {**dict.fromkeys((label for _, label in camera.alerts), 0), **Counter(camera.open.values())}
