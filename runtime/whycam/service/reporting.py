"""From events to the outbox: the alert first, safe on the disk; then its reasons, its picture and its evidence."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whycam.alerts.episodes import AlertEvent, Episode
from whycam.alerts.evidence import EvidenceStore, strip
from whycam.alerts.outbox import Outbox, Outgoing
from whycam.config.models import Config
from whycam.detect import Snapshot
from whycam.errors import WhycamError
from whycam.explain import Explanation
from whycam.explain.target import contrast
from whycam.mqtt.events import alert_message, heatmap_message
from whycam.mqtt.payloads import AlertPayload, ExplanationSummary
from whycam.service.compose import Composer, picture_of
from whycam.service.lane import Lane, Outcome
from whycam.service.metrics import Metrics
from whycam.service.worker import Worker
from whycam.sources import Frame

log = logging.getLogger(__name__)

EXPLAINED = frozenset({"threshold", "peak"})
"""The reasons for a message that bring a new explanation: the episode has begun, or is stronger than before."""


@dataclass(frozen=True, eq=False)
class _Question:
    """An alert that waits in the outbox for its reasons."""

    lane: Lane
    event: AlertEvent
    payload: AlertPayload
    row: int
    window: Snapshot


@dataclass(frozen=True, eq=False)
class _Proof:
    """What is kept on the disk of an alert."""

    lane: Lane
    payload: AlertPayload
    explanation: Explanation | None


class Reporter:
    """The stages behind scoring, each with its own thread and bounded queue.

    | stage | waiting at most | when full |
    |---|---|---|
    | alerts: to the outbox | 256 outcomes | scoring waits: an alert is never dropped, frames are |
    | explanations | 8 alerts | the alert goes without its reasons |
    | evidence | 16 alerts | the alert goes without evidence |
    | footage: pictures for evidence | 32 frames | the frame is missing from the clip |
    """

    def __init__(
        self,
        config: Config,
        composer: Composer,
        outbox: Outbox,
        store: EvidenceStore | None,
        metrics: Metrics,
    ) -> None:
        """Report into `outbox`, and into `store` where evidence is wanted."""
        self._explain_config = config.explain
        self._composer = composer
        self._outbox = outbox
        self._store = store
        self._metrics = metrics
        self._late: OrderedDict[str, ExplanationSummary] = OrderedDict()
        self._late_lock = threading.Lock()
        self.alerts: Worker[Outcome] = Worker("alerts", self._accept, 256)
        self.explanations: Worker[_Question] = Worker("explanations", self._explain, 8)
        self.evidence: Worker[_Proof] = Worker("evidence", self._keep, 16)
        self.footage: Worker[tuple[Lane, Frame]] = Worker("footage", self._picture, 32)

    @property
    def workers(self) -> tuple[Worker[Outcome], Worker[_Question], Worker[_Proof], Worker[tuple[Lane, Frame]]]:
        """The stages, in the order of the data's way."""
        return self.alerts, self.explanations, self.evidence, self.footage

    def start(self) -> None:
        """Begin to work."""
        for worker in self.workers:
            worker.start()

    def stop(self, seconds: float) -> None:
        """Bring every alert into the outbox; leave out, within `seconds`, what is not ready by then."""
        deadline = time.monotonic() + seconds
        self.footage.stop(0, finish=False)
        self.alerts.stop(deadline - time.monotonic(), finish=True)
        self.explanations.stop(deadline - time.monotonic(), finish=False)
        self.evidence.stop(deadline - time.monotonic(), finish=True)
        self._outbox.release_all()

    def forget(self, camera: str, orphans: Sequence[AlertEvent], kept: Sequence[Episode]) -> None:
        """Tell the end of episodes that nobody follows any more; those of `camera` that are `kept` stay open."""
        payloads = [self._composer.alert(camera, event, None) for event in orphans]
        messages = [Outgoing("alert", alert_message(self._composer.topics, payload)) for payload in payloads]
        self._outbox.accept(camera, messages, self._composer.on_wall(kept))
        for event in orphans:
            self._told(camera, event)

    def _told(self, camera: str, event: AlertEvent) -> None:
        episode = event.episode
        log.info(
            "%s %s: %s %.3f",
            episode.label,
            event.phase,
            event.reason,
            episode.score,
            extra={"camera": camera, "alert_id": episode.id},
        )
        self._metrics.episode(camera, event.phase, episode.label)

    def _accept(self, outcome: Outcome) -> None:
        lane = outcome.lane
        payloads = []
        for event in outcome.events:
            with self._late_lock:
                summary = self._late.pop(event.episode.id, None) if event.phase != "cleared" else None
            payloads.append(self._composer.alert(lane.name, event, summary))
        wants = [event.reason in EXPLAINED and outcome.window is not None for event in outcome.events]
        # One transaction: what is said and which episodes are open then cannot come apart in a crash.
        rows = self._outbox.accept(
            lane.name,
            [Outgoing("alert", alert_message(self._composer.topics, payload)) for payload in payloads],
            self._composer.on_wall(outcome.open_episodes),
            hold_seconds=self._explain_config.within_seconds if any(wants) else 0,
        )
        for event, payload, row, wanted in zip(outcome.events, payloads, rows, wants, strict=True):
            self._told(lane.name, event)
            question = None
            if wanted and outcome.window is not None:
                question = _Question(lane, event, payload, row, outcome.window)
            if question is None or not self.explanations.offer(question):
                if any(wants):
                    self._outbox.release(row)
                if question is not None:
                    self._metrics.explanation("refused")
                self._prove(_Proof(lane, payload, None))

    def _explain(self, question: _Question) -> None:
        lane, event = question.lane, question.event
        try:
            explanation = lane.model.explain(
                question.window,
                self._explain_config.method,
                event.episode.label,
                contrast(lane.manifest, event.episode.label, self._explain_config.versus),
                frames=self._explain_config.frames,
                time=self._explain_config.time,
                reference=self._explain_config.reference,
            )
            topics = self._composer.topics
            summary = self._composer.summary(lane, explanation, topics.heatmap(lane.name, event.episode.id))
            payload = question.payload.model_copy(update={"explanation": summary})
        except Exception as error:
            self._outbox.release(question.row)
            self._metrics.explanation("failed")
            self._prove(_Proof(lane, question.payload, None))
            if not isinstance(error, WhycamError):
                raise
            log.error("no explanation: %s", error, extra={"camera": lane.name, "alert_id": event.episode.id})
            return
        if self._outbox.amend(question.row, Outgoing("alert", alert_message(self._composer.topics, payload))):
            self._metrics.explanation("in time")
        else:
            # The alert did not wait for it: the reasons follow as an update of the episode.
            self._metrics.explanation("late")
            with self._late_lock:
                self._late[event.episode.id] = summary
                while len(self._late) > self.alerts.capacity:
                    self._late.popitem(last=False)
            lane.restate(event.episode.id, "explanation")
        try:
            picture = picture_of(lane, explanation)
            message = heatmap_message(topics, lane.name, event.episode.id, picture, self._composer.time())
            self._outbox.accept(lane.name, [Outgoing("heatmap", message)])
        finally:
            self._prove(_Proof(lane, payload, explanation))

    def _prove(self, proof: _Proof) -> None:
        if self._store is not None and not self.evidence.offer(proof):
            self._metrics.evidence("queue full")

    def _keep(self, proof: _Proof) -> None:
        assert self._store is not None
        lane, payload = proof.lane, proof.payload
        sheet = None
        if proof.explanation is not None:
            made = proof.explanation
            sheet = strip(made.frames, made.heatmaps, made.relevance, made.times)
        clip = lane.footage.frames() if payload.phase == "raised" else ()
        assert payload.evidence is not None
        written = self._store.write(Path(payload.evidence), payload.model_dump(mode="json", by_alias=True), sheet, clip)
        self._metrics.evidence("written" if written is not None else self._store.problem or "skipped")

    def _picture(self, job: tuple[Lane, Frame]) -> None:
        lane, frame = job
        lane.footage.add(lane.shown(frame.image), frame.time)
