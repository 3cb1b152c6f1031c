"""From what the service knows to what it says: the payloads and messages of the MQTT contract."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

import numpy as np
from uuid6 import uuid7

from whycam.alerts.episodes import AlertEvent, Episode
from whycam.alerts.evidence import EvidenceStore
from whycam.config.models import Camera as CameraConfig
from whycam.config.models import Config
from whycam.deployment.slot import bundle_name
from whycam.detect import Decision, Snapshot
from whycam.drift import DriftReport
from whycam.explain import Explanation, overlay
from whycam.libraries import OPENCV, needs
from whycam.mqtt.payloads import (
    AlertPayload,
    CameraTelemetry,
    DriftPayload,
    DriftSign,
    ErrorCode,
    ErrorPayload,
    ExplainedFrame,
    ExplainRequest,
    ExplainResponse,
    ExplanationSummary,
    FrameRelevance,
    InstallCommand,
    InstallResult,
    ScorePayload,
    SetResult,
    StatePayload,
    timestamp,
)
from whycam.mqtt.topics import Topics
from whycam.service.clock import Clock
from whycam.service.lane import Lane
from whycam.sources.network import without_credentials

TOP_FRAMES = 3
_JPEG_QUALITY = 85


class Composer:
    """Composes a device's payloads; `mqtt.events` makes messages of them."""

    def __init__(self, config: Config, clock: Clock, store: EvidenceStore | None) -> None:
        """For the device of `config`; alerts name their evidence where there is a `store`."""
        self.device = config.device
        self.topics = Topics(config.broker.root, config.device)
        self._clock = clock
        self._store = store

    def alert(self, camera: str, event: AlertEvent, summary: ExplanationSummary | None) -> AlertPayload:
        """The payload of an event of `camera`, with or without its reasons."""
        episode = event.episode
        end = episode.last_above if event.phase == "cleared" else event.time
        return AlertPayload(
            id=episode.id,
            event_id=str(uuid7()),
            sequence=episode.sequence,
            phase=event.phase,
            device=self.device,
            camera=camera,
            label=episode.label,
            score=episode.score,
            peak=episode.peak,
            threshold=episode.threshold,
            onset=self._time(episode.onset),
            time=self._time(event.time),
            peak_time=self._time(episode.peak_time),
            duration_seconds=round(max(end - episode.onset, 0.0), 3),
            reason=event.reason,
            explanation=summary,
            evidence=None if self._store is None else str(self._store.path_of(camera, episode.id, _born(episode.id))),
        )

    def on_wall(self, episodes: Sequence[Episode]) -> tuple[Episode, ...]:
        """The episodes by the wall clock, to be kept: service time means nothing to the next process."""
        return tuple(episode.moved(self._clock.wall(0.0)) for episode in episodes)

    def summary(self, lane: Lane, made: Explanation, heatmap_topic: str | None) -> ExplanationSummary:
        """The explanation in a few hundred bytes; regions are those of the most relevant frame."""
        times = [self._time(float(time)) for time in made.times]
        order = made.order
        width, height = lane.frame_size
        return ExplanationSummary(
            method=made.method,
            time_method=made.time,
            counter=made.counter,
            reference="usual" if made.reference == "usual" else "none",
            versus=made.versus,
            window_start=times[0],
            window_end=times[-1],
            frames=[
                FrameRelevance(index=index, time=times[index], relevance=float(made.relevance[index]))
                for index in order[:TOP_FRAMES]
            ],
            relevance=[float(share) for share in made.relevance],
            regions=lane.regions(made.heatmaps[order[0]]),
            frame_width=width,
            frame_height=height,
            heatmap_topic=heatmap_topic,
        )

    def answer(
        self, lane: Lane, request: ExplainRequest, window: Snapshot, alert: str | None, made: Explanation
    ) -> ExplainResponse:
        """The answer to a request."""
        order = made.order
        chosen = {"none": [], "top": order[:1], "all": sorted(order)}[request.heatmaps]
        return ExplainResponse(
            request_id=request.request_id,
            device=self.device,
            camera=lane.name,
            time=self._time(self._clock.now()),
            window=request.window,
            alert=alert,
            label=made.label,
            scores=window.scores,
            explanation=self.summary(lane, made, None),
            heatmaps=[self.explained(lane, made, index) for index in chosen],
        )

    def explained(self, lane: Lane, made: Explanation, index: int) -> ExplainedFrame:
        """A frame of the window under its heat map."""
        return ExplainedFrame(
            index=index,
            time=self._time(float(made.times[index])),
            relevance=float(made.relevance[index]),
            image=base64.b64encode(picture_of(lane, made, index)).decode("ascii"),
        )

    def install_result(
        self, command: InstallCommand, state: Literal["accepted", "installed"], told: Mapping[str, Any] | None = None
    ) -> InstallResult:
        """How far a bundle is that was sent for; `told` is what `whycam bundle install` says of it."""
        told = told or {}
        return InstallResult(
            request_id=command.request_id,
            device=self.device,
            time=self._time(self._clock.now()),
            state=state,
            sha256=command.sha256,
            name=told.get("name"),
            version=told.get("version"),
            id=told.get("id"),
            previous=told.get("previous"),
            changed=told.get("changed"),
        )

    def error(self, camera: str | None, request_id: str | None, code: ErrorCode, message: str) -> ErrorPayload:
        """Why a request was refused."""
        return ErrorPayload(
            request_id=request_id,
            device=self.device,
            camera=camera,
            time=self._time(self._clock.now()),
            code=code,
            message=message,
        )

    def set_result(self, lane: Lane, request_id: str | None) -> SetResult:
        """What holds after a command."""
        return SetResult(
            request_id=request_id,
            device=self.device,
            camera=lane.name,
            time=self._time(self._clock.now()),
            armed=lane.armed,
            thresholds=lane.thresholds,
        )

    def score(self, lane: Lane, decision: Decision) -> ScorePayload:
        """What the model says now."""
        return ScorePayload(
            device=self.device,
            camera=lane.name,
            time=self._time(decision.time),
            scores={} if not decision.warm else decision.scores,
            label=decision.label,
            warm=decision.warm,
            alert=any(decision.scores[name] >= threshold for name, threshold in lane.thresholds.items()),
        )

    def state(self, lane: Lane) -> StatePayload:
        """How a camera is doing."""
        camera, model = lane.camera, lane.model
        return StatePayload(
            device=self.device,
            camera=lane.name,
            time=self._time(self._clock.now()),
            state=camera.state.state.value,
            reason=camera.state.reason,
            since=self._time(camera.state.since),
            armed=lane.armed,
            fps=round(camera.fps, 1),
            thresholds=lane.thresholds,
            bundle=lane.manifest.name,
            version=lane.manifest.version,
            precision=model.precision,
            providers=model.session.get_providers(),
            runs_on=dict(model.shares),
            source=without_credentials(lane.config.source),
            frames=camera.counters.captured,
            dropped=camera.counters.dropped,
            reconnects=max(0, camera.counters.opened - 1),
            drift=None if lane.drift is None else lane.drift.drifted,
        )

    def drift(self, lane: Lane, report: DriftReport) -> DriftPayload:
        """That a drift has begun, or has ended."""
        signs = report.signs if report.drifted else ()
        return DriftPayload(
            device=self.device,
            camera=lane.name,
            time=self._time(report.time),
            drifted=bool(report.drifted),
            since=None if report.since is None else self._time(report.since),
            statistic=round(report.statistic, 3),
            signs=[
                DriftSign(sign=one.sign, says=one.says, deviation=round(one.deviation, 2), limit=round(one.limit, 2))
                for one in signs
            ],
        )

    def broken(self, config: CameraConfig, reason: str, since: float) -> StatePayload:
        """The state of a camera whose model does not load."""
        return StatePayload(
            device=self.device,
            camera=config.name,
            time=self._time(self._clock.now()),
            state="failed",
            reason=reason,
            since=self._time(since),
            armed=False,
            fps=None,
            thresholds={},
            bundle=bundle_name(config.bundle),
            version="",
            precision=config.precision,
            providers=[],
            source=without_credentials(config.source),
        )

    def camera_telemetry(self, lane: Lane) -> CameraTelemetry:
        """A camera's figures."""
        camera = lane.camera
        return CameraTelemetry(
            state=camera.state.state.value,
            fps=round(camera.fps, 1),
            frames=camera.counters.captured,
            dropped=camera.counters.dropped,
            scored=lane.scored,
            reconnects=max(0, camera.counters.opened - 1),
        )

    def time(self, moment: float | None = None) -> str:
        """A `moment` in service time, seconds; now, where none is given."""
        return self._time(self._clock.now() if moment is None else moment)

    def _time(self, moment: float) -> str:
        return timestamp(self._clock.wall(moment))


def picture_of(lane: Lane, made: Explanation, index: int | None = None) -> bytes:
    """A frame of the window under its heat map, as JPEG; the most relevant one where `index` is None.

    At the size of the camera's footage where that still holds the frame, else at the model's.
    """
    with needs(OPENCV):
        import cv2
    index = made.order[0] if index is None else index
    picture = lane.footage.at(float(made.times[index]))
    frame = np.asarray(made.pictures[index]) if picture is None else picture
    peak = float(made.heatmaps.max())
    shown = overlay(frame, made.heatmaps[index], peak if peak > 0 else None)
    done, jpeg = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise RuntimeError("OpenCV cannot encode JPEG")
    return bytes(jpeg)


def _born(episode: str) -> float:
    """When an id was made, seconds since the epoch: the same for all messages of an episode, whatever clock was set."""
    return (UUID(episode).int >> 80) / 1000
