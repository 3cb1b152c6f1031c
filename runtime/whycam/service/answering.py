"""Explanations that subscribers ask for, one at a time, beside the alerts' own."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from whycam.config.models import Explain
from whycam.detect import Snapshot
from whycam.errors import InputError
from whycam.explain.methods import method_named
from whycam.explain.target import contrast, target_vector
from whycam.mqtt.commands import Reply
from whycam.mqtt.payloads import ErrorCode, ErrorPayload, ExplainRequest
from whycam.service.compose import Composer
from whycam.service.lane import Lane
from whycam.service.metrics import Metrics
from whycam.service.worker import Worker

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Question:
    """A request that has been found answerable."""

    lane: Lane
    request: ExplainRequest
    window: Snapshot
    alert: str | None
    label: str
    versus: str | None
    reply: Reply


class Answering:
    """Answers requests in their order; four may wait, more are refused as busy."""

    def __init__(self, composer: Composer, metrics: Metrics, settings: Explain) -> None:
        """Answer with the method and contrast of `settings` where a request names none."""
        self._composer = composer
        self._metrics = metrics
        self._settings = settings
        self.worker: Worker[Question] = Worker("requests", self._answer, 4)

    def ask(self, lane: Lane, request: ExplainRequest, reply: Reply) -> None:
        """Answer `request` through `reply`, later and from another thread; an error at once where it cannot be.

        Raises InputError for a class or method that there is not.
        """
        alert, window = (None, lane.latest) if request.window == "latest" else lane.last_alert
        if window is None:
            wanted = "full window" if request.window == "latest" else "alert since the service began"
            reply(
                self._error(lane, request, "not-ready", f"camera '{lane.name}' has no {wanted} to explain; ask later")
            )
            return
        method_named(request.method or self._settings.method, request.counter)
        label = request.label or window.label
        versus = contrast(lane.manifest, label, request.versus or self._settings.versus)
        target_vector(lane.manifest.classes, label, versus)
        question = Question(lane, request, window, alert, label, versus, reply)
        if not self.worker.offer(question):
            waiting = f"{self.worker.capacity} requests are waiting already; ask again in a second"
            reply(self._error(lane, request, "busy", waiting))

    def _answer(self, question: Question) -> None:
        lane = question.lane
        try:
            request = question.request
            made = lane.model.explain(
                question.window,
                request.method or self._settings.method,
                question.label,
                question.versus,
                # The regions are those of the most relevant frame, so one is explained in any case.
                frames="all" if request.heatmaps == "all" else 1,
                time=request.time_method or self._settings.time,
                counter=request.counter,
                reference=request.reference or self._settings.reference,
            )
            answer = self._composer.answer(lane, question.request, question.window, question.alert, made)
        except Exception as error:
            if not isinstance(error, InputError):
                log.exception("a request could not be answered", extra={"camera": lane.name})
            self._metrics.explanation("failed")
            fault = f"the explanation failed ({type(error).__name__}); see the device's log"
            if isinstance(error, InputError):
                fault = str(error)
            question.reply(self._error(lane, question.request, "failed", fault))
            return
        self._metrics.explanation("answered")
        question.reply(answer)

    def _error(self, lane: Lane, request: ExplainRequest, code: ErrorCode, message: str) -> ErrorPayload:
        return self._composer.error(lane.name, request.request_id, code, message)
