"""The models of a service: loaded once for all cameras that share one, however long that takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, wait
from pathlib import Path

from whycam.config.models import Bundles, Explain
from whycam.config.models import Camera as CameraConfig
from whycam.deployment.slot import bundle_name, resolved
from whycam.deployment.trust import open_trusted
from whycam.detect import Model
from whycam.detect.opening import Announce
from whycam.errors import BundleError
from whycam.service import systemd

_ANYBODYS = Bundles()
_NONE: Mapping[Path, str] = {}


class Models:
    """Loads each model once."""

    def __init__(
        self,
        explain: Explain,
        threads: int | None,
        beat: Callable[[], None],
        bundles: Bundles = _ANYBODYS,
        barred: Mapping[Path, str] = _NONE,
    ) -> None:
        """None loaded yet; each runs in `threads` threads (None: as many as there are cores), proven able to `explain`.

        `beat` is called every second or so while one loads, and ends the wait where it raises. `bundles` says whose are
        taken, `barred` which folders are not, and why.
        """
        self._bundles = bundles
        self._barred = barred
        self._explain = explain
        self._threads = threads
        self._beat = beat
        self._models: dict[tuple[Path, str, tuple[str, ...] | None], Model] = {}

    def of(self, camera: CameraConfig) -> Model:
        """The model of `camera`, of the version that a link points to now; raises what stands in the way of loading it.

        That version stays the model's own, wherever the link points later.
        """
        path = resolved(camera.bundle)
        key = (path, camera.precision, camera.providers)
        if path in self._barred:
            raise BundleError(self._barred[path])
        if key not in self._models:
            loading_it = f"loading {bundle_name(camera.bundle)}"
            systemd.status(loading_it)
            # In a thread: an engine may be built for minutes, and systemd waits no longer than it is told to.
            loading = Future[Model]()
            threading.Thread(
                target=_load,
                args=(path, camera, self._explain, self._bundles, self._threads, loading),
                kwargs={"announce": lambda told: systemd.status(f"{loading_it}: {told}")},
                name="loading",
                daemon=True,
            ).start()
            while not wait((loading,), systemd.beat_seconds()).done:
                self._beat()
            self._models[key] = loading.result()
        return self._models[key]

    def rest(self) -> None:
        """Let go of what only explanations need, where none was asked for in `explain.idle_seconds`."""
        if self._explain.idle_seconds > 0:
            for model in tuple(self._models.values()):
                model.rest(self._explain.idle_seconds)

    def keep(self, wanted: Collection[Model]) -> None:
        """Let go of all but these."""
        self._models = {key: model for key, model in self._models.items() if any(one is model for one in wanted)}


def open_model(
    path: Path,
    camera: CameraConfig,
    explain: Explain,
    bundles: Bundles,
    threads: int | None,
    *,
    beside: Model | None = None,
    announce: Announce | None = None,
) -> Model:
    """The model of `camera`, its bundle at `path`, proven able to `explain`; it shares what it can with that `beside`.

    `announce` is told what is going to take minutes. Raises what stands in the way.
    """
    bundle = open_trusted(path, bundles)
    model = Model(bundle, camera.precision, camera.providers, threads, beside=beside, announce=announce)
    model.open_explainer(explain.method, explain.time)
    if explain.idle_seconds > 0:
        # That they open is known now; an alert may be weeks away.
        model.rest(0)
    return model


def _load(
    path: Path,
    camera: CameraConfig,
    explain: Explain,
    bundles: Bundles,
    threads: int | None,
    loaded: Future[Model],
    *,
    announce: Announce,
) -> None:
    try:
        model = open_model(path, camera, explain, bundles, threads, announce=announce)
    except BaseException as error:
        loaded.set_exception(error)
    else:
        loaded.set_result(model)
