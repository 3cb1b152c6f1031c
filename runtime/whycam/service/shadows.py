"""The shadows of all cameras: their candidates in a thread of their own, which gives way to all others."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from weakref import WeakKeyDictionary, WeakValueDictionary

from whycam.alerts.comparison import Disagreement
from whycam.alerts.outbox import Outbox, Outgoing
from whycam.config.models import Camera as CameraConfig
from whycam.config.models import Config
from whycam.deployment.slot import is_free_place, resolved
from whycam.detect import Model
from whycam.errors import BundleError
from whycam.mqtt.events import disagreement_message
from whycam.service.candidates import Candidates
from whycam.service.compose import Composer
from whycam.service.compose_shadow import disagreement_payload
from whycam.service.lane import Lane, Scored
from whycam.service.models import open_model
from whycam.service.shadow import Moment, Shadow
from whycam.service.worker import Worker

log = logging.getLogger(__name__)

_MOST_WAITING = 1024
"""Of all cameras together; each has its own, much lower bound."""
_NICENESS = 10
"""Of the thread and those that compute for it: on a busy CPU they get a tenth of what another gets."""
_Key = tuple[Path, str, "tuple[str, ...] | None"]


class Shadows:
    """Loads candidates, once for all cameras that have the same one beside the same model, and runs them in turn."""

    def __init__(
        self,
        config: Config,
        composer: Composer,
        outbox: Outbox,
        candidates: Candidates,
        told: Callable[[Lane, Shadow], None],
    ) -> None:
        """Those that `candidates` admits are run. Disagreements go into `outbox`; `told` hears of each shadow that has
        something new, from several threads.
        """
        self._explain = config.explain
        self._bundles = config.bundles
        self._threads = config.threads
        self._composer = composer
        self._outbox = outbox
        self._candidates = candidates
        self._told = told
        self._models: WeakKeyDictionary[Model, WeakValueDictionary[_Key, Model]] = WeakKeyDictionary()
        self._stopped = False
        self.worker: Worker[tuple[Shadow, Scored]] = Worker("shadow", self._judge, _MOST_WAITING)

    def of(self, camera: CameraConfig) -> Shadow | None:
        """The shadow of `camera`, its candidate not loaded yet; None where the configuration asks for none."""
        candidate = camera.candidate
        if candidate is None or camera.shadow is None:
            return None
        return Shadow(
            candidate,
            camera.shadow,
            load=self._load,
            queue=lambda shadow, scored: self.worker.offer((shadow, scored)),
            told=self._told,
            held=self._held,
            disagreed=self._disagreed,
        )

    def stop(self, seconds: float) -> None:
        """Judge nothing more, and accept no more disagreements."""
        self._stopped = True
        self.worker.stop(seconds, finish=False)
        self._candidates.end()

    def _judge(self, job: tuple[Shadow, Scored]) -> None:
        shadow, scored = job
        shadow.judge(scored)

    def _load(self, camera: CameraConfig, live: Model) -> Model:
        """The candidate of `camera`, beside the model `live`; raises what stands in the way."""
        # In the thread that runs it: the threads that ONNX Runtime begins for it inherit this.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        known = self._models.setdefault(live, WeakValueDictionary())
        if is_free_place(camera.bundle):
            raise BundleError(f"{camera.bundle}: there is no candidate; `whycam bundle install --candidate` brings one")
        path = resolved(camera.bundle)
        key = (path, camera.precision, camera.providers)
        model = known.get(key)
        if model is None:
            self._candidates.admit(path, camera)
            model = known[key] = open_model(path, camera, self._explain, self._bundles, self._threads, beside=live)
        return model

    def _held(self, shadow: Shadow) -> None:
        if shadow.candidate is not None:
            self._candidates.held(shadow.candidate.model.bundle.path, shadow.camera)

    def _disagreed(self, shadow: Shadow, one: Disagreement[Moment]) -> None:
        lane = one.kept.scored.lane
        log.info(
            "shadow: %s was raised by the %s bundle alone", one.episode.label, one.side, extra={"camera": lane.name}
        )
        if not shadow.may_publish():
            return
        payload = disagreement_payload(self._composer, self._explain, shadow, one)
        if not self._stopped:
            message = disagreement_message(self._composer.topics, payload)
            self._outbox.accept(lane.name, [Outgoing("disagreement", message)])
