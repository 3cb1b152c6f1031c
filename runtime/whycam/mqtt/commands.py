"""Commands and requests of subscribers: heard, checked, passed to the service, answered."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

from whycam.errors import WhycamError
from whycam.mqtt.client import MqttClient
from whycam.mqtt.ear import Received
from whycam.mqtt.events import response_message
from whycam.mqtt.payloads import (
    ErrorPayload,
    ExplainRequest,
    ExplainResponse,
    InstallCommand,
    InstallResult,
    SetCommand,
    SetResult,
    timestamp,
)
from whycam.mqtt.requests import Action, RefusedError, correlation, read, response_topic
from whycam.mqtt.topics import Topics

log = logging.getLogger(__name__)

_WAITING = 32
_LOG_SECONDS = 10.0

Answer = SetResult | ExplainResponse | InstallResult | ErrorPayload
Reply = Callable[["ExplainResponse | ErrorPayload"], None]
InstallReply = Callable[["InstallResult | ErrorPayload"], None]


class DeviceControl(Protocol):
    """The service, as far as subscribers may reach into it."""

    def cameras(self) -> Sequence[str]:
        """The cameras that take commands."""

    def set(self, camera: str, command: SetCommand) -> SetResult:
        """Obey; raises InputError, nothing changed, for what there is not."""

    def explain(self, camera: str, request: ExplainRequest, reply: Reply) -> None:
        """Answer through `reply`, once, now or later; raises InputError for what there is not."""

    def install(self, command: InstallCommand, reply: InstallReply) -> None:
        """Answer through `reply`, now and later; raises InputError or RefusedError for what may not be."""


class CommandListener:
    """Listens on `.../set` and `.../explain` of all cameras, and on the device's `bundles/install`.

    A thread of its own obeys: a slow disk must not hold up the connection. At most 32 wait, more are refused as busy.
    """

    def __init__(self, client: MqttClient, topics: Topics, control: DeviceControl) -> None:
        """Listen through `client`, which is not started yet, for `control`."""
        self.obeyed = 0
        """Commands and requests that were passed on."""
        self.refused = 0
        """Commands and requests that were refused."""
        self._client = client
        self._topics = topics
        self._control = control
        self._waiting: queue.Queue[tuple[Received, str | None, Action] | None] = queue.Queue(_WAITING)
        self._stopping = False
        self._told = -_LOG_SECONDS
        self._untold = 0
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)
        client.subscribe(f"{topics.base}/+/set", 1, partial(self._hear, "set"))
        client.subscribe(f"{topics.base}/+/explain", 1, partial(self._hear, "explain"))
        client.subscribe(topics.install, 1, partial(self._hear, "install"))
        self._thread.start()

    def stop(self) -> None:
        """Obey no more; what waits is left."""
        self._stopping = True
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(1.0)

    def _hear(self, action: Action, message: Received) -> None:
        camera = None if action == "install" else message.topic[len(self._topics.base) + 1 : -len(action) - 1]
        try:
            self._waiting.put_nowait((message, camera, action))
        except queue.Full:
            self._refuse(
                message, camera, action, RefusedError("busy", f"{_WAITING} commands are waiting; send it again")
            )

    def _run(self) -> None:
        while (heard := self._waiting.get()) is not None and not self._stopping:
            message, camera, action = heard
            try:
                self._obey(message, camera, action)
            except RefusedError as refusal:
                self._refuse(message, camera, action, refusal)
            except Exception:
                log.exception("a command failed", extra={"camera": camera})
                fault = RefusedError("failed", "the device failed at it; see its log")
                self._refuse(message, camera, action, fault)

    def _obey(self, message: Received, camera: str | None, action: Action) -> None:
        if message.retain:
            raise RefusedError(
                "retained", "a retained command would be obeyed again at each connection; send it unretained"
            )
        if camera is not None and camera not in self._control.cameras():
            raise RefusedError("unknown-camera", f"there is no camera '{camera[:64]}' here")
        topic = self._response_topic(message, camera, action)
        answer = partial(self._answer, topic, correlation(message.correlation_data))
        if camera is None:
            order = read(InstallCommand, message.payload)
            try:
                self._control.install(order, answer)
            except RefusedError as refusal:
                raise RefusedError(refusal.code, refusal.message, order.request_id) from None
            except WhycamError as error:
                raise RefusedError("invalid", str(error), order.request_id) from None
        elif action == "set":
            command = read(SetCommand, message.payload)
            try:
                answer(self._control.set(camera, command))
            except WhycamError as error:
                raise RefusedError("invalid", str(error), command.request_id) from None
        else:
            request = read(ExplainRequest, message.payload)
            try:
                self._control.explain(camera, request, _Once(answer))
            except WhycamError as error:
                raise RefusedError("invalid", str(error), request.request_id) from None
        self.obeyed += 1

    def _response_topic(self, message: Received, camera: str | None, action: Action) -> str:
        return response_topic(self._topics, camera, action, message.response_topic, self._client.reserved)

    def _answer(self, topic: str, correlation_data: bytes | None, payload: Answer) -> None:
        self._client.publish(response_message(self._topics, topic, payload, correlation_data))

    def _refuse(self, message: Received, camera: str | None, action: Action, refusal: RefusedError) -> None:
        self.refused += 1
        self._log(message, refusal)
        try:
            topic = self._response_topic(message, camera, action)
            correlation_data = correlation(message.correlation_data)
        except RefusedError:
            # The sender named no place where it may be answered: the contract's own topic is left.
            topic, correlation_data = self._response_topic(Received("", b""), camera, action), None
        unknown = camera is not None and camera not in self._control.cameras()
        if unknown and topic.startswith(f"{self._topics.base}/"):
            return  # the topic would be one of the sender's making
        error = ErrorPayload(
            request_id=refusal.request_id,
            device=self._topics.device,
            camera=None if camera is None else camera[:64],
            time=timestamp(time.time()),
            code=refusal.code,
            message=refusal.message,
        )
        self._answer(topic, correlation_data, error)

    def _log(self, message: Received, refusal: RefusedError) -> None:
        # Whoever may publish commands must not be able to fill the log.
        self._untold += 1
        if time.monotonic() - self._told >= _LOG_SECONDS:
            more = f" ({self._untold - 1} more since the last such line)" if self._untold > 1 else ""
            log.warning("%s: refused, %s: %s%s", ascii(message.topic)[1:-1], refusal.code, refusal.message, more)
            self._told, self._untold = time.monotonic(), 0


class _Once:
    """A reply that can be given once; what comes after is not sent."""

    def __init__(self, answer: Callable[[Answer], None]) -> None:
        self._answer = answer
        self._given = threading.Lock()

    def __call__(self, payload: ExplainResponse | ErrorPayload) -> None:
        if self._given.acquire(blocking=False):
            self._answer(payload)
