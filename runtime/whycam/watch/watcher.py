"""Follow devices: take each message, save it, show it, and only then tell the broker that it has arrived."""

from __future__ import annotations

import logging
import time
from queue import Empty, SimpleQueue

from whycam.errors import InputError
from whycam.mqtt.connection import Connection
from whycam.mqtt.ear import Received
from whycam.mqtt.server import Server
from whycam.printable import printable
from whycam.watch.reading import LASTING, Event, Nonsense, filters, read
from whycam.watch.saving import Folder, Seen
from whycam.watch.views import View

log = logging.getLogger(__name__)

_FINAL_REFUSALS = {132, 133, 134, 135, 138, 140}
"""Reason codes that another attempt does not change: protocol, client id, password, rights, ban, method."""
_QUEUED = 1000
"""Of messages with QoS 0: more are dropped. Others are bounded by what the broker sends without acknowledgement."""
_TURN_SECONDS = 0.25
_RETRY_SECONDS = 1.0
_GOODBYE_SECONDS = 2.0
_SHORT_SECONDS, _SHORTS = 10.0, 3


class Watcher:
    """Runs in the thread that calls `run`; the connection has its own."""

    def __init__(
        self,
        server: Server,
        client_id: str,
        view: View,
        *,
        root: str,
        device: str | None = None,
        session_seconds: int = 0,
        folder: Folder | None = None,
    ) -> None:
        """Follow `device`, or all under `root`, in a session that the broker keeps for `session_seconds` after us."""
        self.alerts = 0
        """New alert messages so far."""
        self.nonsense = 0
        """Messages that no device of ours publishes."""
        self._root = root
        self._filters = filters(root, device)
        self._view = view
        self._folder = folder
        self._seen = Seen()
        self._queue: SimpleQueue[Received] = SimpleQueue()
        self._stopping = False
        self._taken_over = False
        self._since, self._short = 0.0, 0
        self._client_id = client_id
        self._connection = Connection(
            server, client_id, self, session_seconds=session_seconds, manual_acknowledgement=True
        )

    def run(self, count: int | None = None, seconds: float | None = None) -> None:
        """Until `stop`, `count` new alert messages, or `seconds`.

        Raises InputError where the broker does not let us in at first and never will, or another client has taken over
        the session.
        """
        until = None if seconds is None else time.monotonic() + seconds
        self._connection.start()
        try:
            while not self._stopping and (count is None or self.alerts < count):
                if until is not None and time.monotonic() >= until:
                    return
                self._turn(_TURN_SECONDS if until is None else min(_TURN_SECONDS, max(until - time.monotonic(), 0)))
        finally:
            self._connection.stop(_GOODBYE_SECONDS)

    def stop(self) -> None:
        """Let `run` return; safe in a signal handler."""
        self._stopping = True

    def _turn(self, seconds: float) -> None:
        if self._taken_over:
            raise InputError(
                f"another client has taken over the session '{self._client_id}'; is `whycam watch` running twice? "
                "give each its own --client-id"
            )
        if not self._connection.connects and self._connection.refused in _FINAL_REFUSALS and self._connection.problem:
            raise InputError(self._connection.problem)
        try:
            message = self._queue.get(timeout=seconds)
        except Empty:
            pass
        else:
            self._take(message)
        self._refresh()

    def _refresh(self) -> None:
        waiting = None if self._connection.connects else "connecting"
        self._view.refresh(self._connection.problem or waiting, self.nonsense)

    def _take(self, message: Received) -> None:
        try:
            event = read(self._root, message)
        except Nonsense as error:
            self.nonsense += 1
            log.warning("ignored: %s: %s", printable(message.topic[:200]), printable(error)[:300])
        else:
            if not self._keep(event):
                return  # neither saved nor acknowledged: the broker sends it again
        self._connection.acknowledge(message)

    def _keep(self, event: Event) -> bool:
        """Save and show; False where we are told to stop before it is saved."""
        if event.kind not in LASTING:
            self._view.show(event, None)
            return True
        if self._seen.has(event):
            return True
        saved = None
        if self._folder is not None:
            if self._folder.has(event):
                self._seen.add(event)
                return True
            saved = self._save(self._folder, event)
            if saved is None:
                return False
        self._view.show(event, saved)
        self._seen.add(event)
        self.alerts += event.kind == "alert"
        return True

    def _save(self, folder: Folder, event: Event) -> str | None:
        """Until it is done: the broker keeps what comes meanwhile."""
        said = False
        while not self._stopping:
            try:
                return str(folder.save(event))
            except OSError as error:
                if not said:
                    log.warning("%s: %s; trying until it can be saved", folder.path(event), error.strerror)
                said = True
            self._refresh()
            time.sleep(_RETRY_SECONDS)
        return None

    # -- the connection's handler, in its thread --

    def connected(self, session_present: bool) -> None:
        """Subscribe."""
        self._since = time.monotonic()
        self._connection.subscribe(self._filters)

    def received(self, message: Received) -> None:
        """Queue the message."""
        if message.qos > 0 or self._queue.qsize() < _QUEUED:
            self._queue.put(message)

    def disconnected(self, reason: str) -> None:
        """See whether it is for good."""
        self._taken_over = self._taken_over or "taken over" in reason
        self._short = self._short + 1 if time.monotonic() - self._since < _SHORT_SECONDS else 0
        if self._short == _SHORTS:
            # Not every broker says that another has taken over the session.
            log.warning(
                "connections end soon after they begin: where `whycam watch` runs twice, give one a --client-id"
            )
