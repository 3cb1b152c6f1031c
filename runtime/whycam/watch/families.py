"""The metrics that `whycam watch --metrics` tells, and their values from what is known of the fleet.

What a device tells at its own `/metrics` too has the same name here, with the label `device` added.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from whycam.mqtt.payloads import (
    BundlesPayload,
    CameraTelemetry,
    OutboxTelemetry,
    ShadowPayload,
    StateName,
    TelemetryPayload,
)
from whycam.watch.fleet import Camera, Device, open_by_label

EVENTS = ("installed", "confirmed", "rolled-back", "failed")
EVICTED = ("heatmap", "alert", "damaged")
"""What a device gives up, as far as we know."""
SERIES = 100_000
"""Writing more would take longer than Prometheus waits, ten seconds."""
LARGEST = 2**53
"""Larger counts are none of a device's; Prometheus has floating-point numbers."""

Sample = tuple[str, tuple[str, ...], float]
"""A metric's name, the values of its labels, and its own."""


@dataclass(frozen=True)
class Family:
    """A metric: what it is, and its labels besides `device`."""

    kind: Literal["gauge", "counter"]
    text: str
    labels: tuple[str, ...] = ()


_CAMERA, _LABEL = ("camera",), ("camera", "label")
FAMILIES: Mapping[str, Family] = {
    "whycam_device_online": Family("gauge", "1 while the device is connected to the broker, 0 while it is not."),
    "whycam_device_info": Family("gauge", "1, with the device's version of whycam.", ("version",)),
    "whycam_device_clock_offset_seconds": Family("gauge", "How far the device's clock is ahead of the subscriber's."),
    "whycam_bundle_info": Family("gauge", "1 for each installed bundle.", ("bundle", "version", "id", "state")),
    "whycam_bundle_event": Family("gauge", "1 for what happened last to the bundle.", ("bundle", "event")),
    "whycam_uptime_seconds": Family("gauge", "Since the device's service began."),
    "whycam_memory_bytes": Family("gauge", "Resident memory of the device's service."),
    "whycam_temperature_celsius": Family("gauge", "Temperature of a thermal zone of the device.", ("zone",)),
    "whycam_clock_jumps_total": Family("counter", "How often the device's wall clock was set."),
    "whycam_refused_requests_total": Family("counter", "Commands and requests that the device has refused."),
    "whycam_evidence_skipped_total": Family("counter", "Alerts whose evidence was not kept.", ("reason",)),
    "whycam_stage_mean_seconds": Family("gauge", "Mean time that a stage of the work took lately.", ("stage",)),
    "whycam_stage_max_seconds": Family("gauge", "Longest time that a stage of the work took lately.", ("stage",)),
    "whycam_queue_depth": Family("gauge", "Jobs that wait before a stage.", ("stage",)),
    "whycam_queue_capacity": Family("gauge", "Jobs for which there is room before a stage.", ("stage",)),
    "whycam_queue_refused_total": Family("counter", "Jobs that found no room.", ("stage",)),
    "whycam_outbox_messages": Family("gauge", "Messages that wait for the broker."),
    "whycam_outbox_bytes": Family("gauge", "Their size."),
    "whycam_outbox_oldest_seconds": Family("gauge", "Age of the oldest."),
    "whycam_outbox_in_memory": Family("gauge", "Those that the disk does not take."),
    "whycam_outbox_evicted_total": Family("counter", "Messages given up undelivered.", ("kind",)),
    "whycam_camera_state": Family("gauge", "1 for the state that the camera is in.", ("camera", "state")),
    "whycam_camera_armed": Family("gauge", "1 while alerts are raised.", _CAMERA),
    "whycam_camera_threshold": Family("gauge", "The score at which a class raises, 0 to 1.", _LABEL),
    "whycam_camera_fps": Family("gauge", "Frames that the camera gives in a second.", _CAMERA),
    "whycam_camera_captured_total": Family("counter", "Frames captured.", _CAMERA),
    "whycam_camera_dropped_total": Family("counter", "Due frames that were replaced before being scored.", _CAMERA),
    "whycam_camera_scored_total": Family("counter", "Frames scored.", _CAMERA),
    "whycam_camera_reconnects_total": Family("counter", "How often the source was opened again.", _CAMERA),
    "whycam_camera_score": Family("gauge", "The model's score of a class, 0 to 1.", _LABEL),
    "whycam_camera_warm": Family("gauge", "1 while the window is full and without gaps.", _CAMERA),
    "whycam_camera_drift_statistic": Family(
        "gauge", "The largest deviation from what is usual when drift was last told, over its limit.", _CAMERA
    ),
    "whycam_camera_drifted": Family("gauge", "1 while the camera shows something else than usual.", _CAMERA),
    "whycam_shadow_score": Family("gauge", "The candidate's score of a class, 0 to 1.", _LABEL),
    "whycam_shadow_difference": Family("gauge", "Mean difference between the scores of both bundles.", _CAMERA),
    "whycam_shadow_frames_total": Family("counter", "Frames of the candidate, by outcome.", ("camera", "outcome")),
    "whycam_shadow_episodes_total": Family("counter", "Episodes, by who has raised them.", ("camera", "raised_by")),
    "whycam_shadow_trouble": Family("gauge", "1 while something is wrong with the candidate.", _CAMERA),
    "whycam_alerts_total": Family("counter", "Alert messages that have come.", ("camera", "phase", "label")),
    "whycam_alerts_open": Family("gauge", "Episodes that were raised and not cleared.", _LABEL),
}


def families(devices: Mapping[str, Device], most: int = SERIES) -> tuple[list[Metric], int]:
    """All metrics with their values now, those that have none too; and how many series beyond `most` are left out."""
    made: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
    for name, family in FAMILIES.items():
        kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
        made[name] = kind(name, family.text, labels=("device", *family.labels))
    samples = ((device, *sample) for device, known in devices.items() for sample in _of_device(known))
    for device, name, labels, value in islice(samples, most):
        made[name].add_metric((device, *labels), min(value, LARGEST))
    return list(made.values()), sum(1 for _ in samples)


def _of_device(device: Device) -> Iterator[Sample]:
    if device.online is not None:
        yield "whycam_device_online", (), float(device.online)
    for name, camera in device.cameras.items():
        yield from _counted(name, camera)
    if device.online is False:
        return  # nobody knows how it is
    telemetry = device.telemetry.get()
    for name, camera in device.cameras.items():
        yield from _of_camera(name, camera)
    if device.bundles is not None:
        yield from _bundles(device.bundles)
    if telemetry is not None:
        if device.clock_offset is not None:
            yield "whycam_device_clock_offset_seconds", (), device.clock_offset
        yield from _of_telemetry(telemetry)


def _bundles(told: BundlesPayload) -> Iterator[Sample]:
    for bundle in told.bundles:
        yield "whycam_bundle_info", (bundle.name, bundle.version, bundle.id, bundle.state), 1
        last = None if bundle.event is None else bundle.event.event
        for event in EVENTS:
            yield "whycam_bundle_event", (bundle.name, event), float(event == last)


def _of_telemetry(told: TelemetryPayload) -> Iterator[Sample]:
    yield "whycam_device_info", (told.version,), 1
    yield "whycam_uptime_seconds", (), told.uptime_seconds
    if told.memory_bytes is not None:
        yield "whycam_memory_bytes", (), told.memory_bytes
    yield "whycam_clock_jumps_total", (), told.clock_jumps
    yield "whycam_refused_requests_total", (), told.refused_requests
    for zone, degrees in told.temperatures_celsius.items():
        yield "whycam_temperature_celsius", (zone,), degrees
    for reason, count in told.evidence_skipped.items():
        yield "whycam_evidence_skipped_total", (reason,), count
    for name, stage in told.stages.items():
        yield "whycam_stage_mean_seconds", (name,), stage.mean_ms / 1000
        yield "whycam_stage_max_seconds", (name,), stage.max_ms / 1000
    for name, queue in told.queues.items():
        yield "whycam_queue_depth", (name,), queue.depth
        yield "whycam_queue_capacity", (name,), queue.capacity
        yield "whycam_queue_refused_total", (name,), queue.refused
    for name, camera in told.cameras.items():
        yield from _frames(name, camera)
    if told.outbox is not None:
        yield from _outbox(told.outbox)


def _frames(name: str, camera: CameraTelemetry) -> Iterator[Sample]:
    if camera.fps is not None:
        yield "whycam_camera_fps", (name,), camera.fps
    yield "whycam_camera_captured_total", (name,), camera.frames
    yield "whycam_camera_dropped_total", (name,), camera.dropped
    yield "whycam_camera_scored_total", (name,), camera.scored
    yield "whycam_camera_reconnects_total", (name,), camera.reconnects


def _outbox(outbox: OutboxTelemetry) -> Iterator[Sample]:
    yield "whycam_outbox_messages", (), outbox.rows
    yield "whycam_outbox_bytes", (), outbox.bytes
    yield "whycam_outbox_oldest_seconds", (), outbox.oldest_seconds or 0.0
    yield "whycam_outbox_in_memory", (), outbox.in_memory
    # 0 is told too: of a series that begins with 3 nobody sees that it grew.
    for kind, count in {**dict.fromkeys(EVICTED, 0), **outbox.evicted}.items():
        yield "whycam_outbox_evicted_total", (kind,), count


def _counted(name: str, camera: Camera) -> Iterator[Sample]:
    for (phase, label), count in camera.alerts.items():
        yield "whycam_alerts_total", (name, phase, label), count


def _of_camera(name: str, camera: Camera) -> Iterator[Sample]:
    if camera.state is not None:
        for state in get_args(StateName):
            yield "whycam_camera_state", (name, state), float(camera.state.state == state)
        yield "whycam_camera_armed", (name,), float(camera.state.armed)
        for label, threshold in camera.state.thresholds.items():
            yield "whycam_camera_threshold", (name, label), threshold
    if camera.drift is not None:
        yield "whycam_camera_drift_statistic", (name,), camera.drift.statistic
        yield "whycam_camera_drifted", (name,), float(camera.drift.drifted)
    if (score := camera.score.get()) is not None:
        yield "whycam_camera_warm", (name,), float(score.warm)
        for label, value in score.scores.items():
            yield "whycam_camera_score", (name, label), value
    if (shadow := camera.shadow.get()) is not None:
        yield from _shadow(name, shadow)
    if camera.state is not None or camera.open:
        for label, count in open_by_label(camera).items():
            yield "whycam_alerts_open", (name, label), count


def _shadow(name: str, shadow: ShadowPayload) -> Iterator[Sample]:
    if shadow.candidate is not None:
        for label, value in shadow.candidate.scores.items():
            yield "whycam_shadow_score", (name, label), value
    yield "whycam_shadow_difference", (name,), shadow.mean_difference
    for outcome in ("compared", "agreed", "skipped", "failed"):
        yield "whycam_shadow_frames_total", (name, outcome), getattr(shadow, outcome)
    episodes = shadow.episodes
    for raised_by, count in (
        ("both", episodes.both),
        ("live", episodes.live_only),
        ("candidate", episodes.candidate_only),
    ):
        yield "whycam_shadow_episodes_total", (name, raised_by), count
    yield "whycam_shadow_trouble", (name,), float(shadow.trouble is not None)
