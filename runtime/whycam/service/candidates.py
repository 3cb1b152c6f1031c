"""Candidates of shadows: proven in a process of their own first, and left out once they have taken down the service.

Whatever a candidate does, the live camera must go on. A self-test cannot find all that a graph may do, so how often a
service has begun to run a candidate, and neither ended in order nor compared enough frames, is on the disk before it
is loaded, as it is of a version on trial (`trials`).
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whycam.bundle import Bundle
from whycam.bundle.store import read_manifest, sync_directory, write_to_disk
from whycam.config.models import Bundles
from whycam.config.models import Camera as CameraConfig
from whycam.deployment.golden import GOLDEN
from whycam.deployment.install import Test
from whycam.deployment.isolated import self_test_apart
from whycam.deployment.slot import id_of
from whycam.deployment.trust import open_trusted
from whycam.errors import BundleError, InputError
from whycam.service.trials import DEATHS

log = logging.getLogger(__name__)

ENOUGH = 100
"""Frames that a candidate must have compared to be held against it no more."""
_AGAIN_SECONDS = 3600.0
"""A self-test that has failed is made again after so long: memory may have been short."""
_MOST_KEPT = 100
"""Candidates whose self-test is remembered."""


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    passed: tuple[str, ...] = Field(default=(), description="those that have passed the self-test, the newest last")
    starts: dict[str, int] = Field(default_factory=dict, description="how often each was begun without a good end")


class Candidates:
    """What is known of candidates, in one JSON file that is replaced whole; several threads may ask.

    A candidate is a version of a bundle, with the precision and the providers that run it.
    """

    def __init__(self, path: Path, bundles: Bundles, *, test: Test = self_test_apart) -> None:
        """Kept in the file at `path`; `bundles` says whose are taken, `test` runs the self-test."""
        self._path = path
        self._bundles = bundles
        self._test = test
        self._lock = threading.Lock()
        self._file = _read(path)
        self._begun: set[str] = set()
        """Those that this process has begun to run and that have not held yet."""
        self._held: set[str] = set()
        self._failed: dict[str, tuple[float, str]] = {}

    def admit(self, path: Path, camera: CameraConfig) -> None:
        """Let the candidate of `camera`, its bundle at `path`, be loaded from now on; it is marked on the disk.

        Raises BundleError where it is not to be loaded: it does not pass the self-test, or services have died with it;
        InputError where the disk does not take the mark.
        """
        # First of all: what is no bundle, or a stranger's, is told as it is.
        bundle = open_trusted(path, self._bundles)
        key = _key(path, camera)
        if key in self._begun or key in self._held:
            return
        starts = self._file.starts.get(key, 0)
        if starts >= DEATHS:
            raise BundleError(
                f"{path}: is left out, the service ended {starts} times while it was tried; take another version"
            )
        if key not in self._file.passed:
            self._prove(key, bundle, camera)
        with self._lock:
            passed = tuple(one for one in self._file.passed if one != key)
            self._save(_File(passed=(*passed, key)[-_MOST_KEPT:], starts={**self._file.starts, key: starts + 1}))
            self._begun.add(key)

    def held(self, path: Path, camera: CameraConfig) -> None:
        """The candidate has compared enough frames."""
        try:
            key = _key(path, camera)
        except BundleError:
            return  # it has been removed meanwhile: there is nothing to load any more
        with self._lock:
            if key in self._begun:
                self._begun.remove(key)
                self._held.add(key)
                self._forget({key})

    def end(self) -> None:
        """The service ends in order: nobody has died of a candidate."""
        with self._lock:
            self._forget(self._begun)
            self._begun = set()

    def _prove(self, key: str, bundle: Bundle, camera: CameraConfig) -> None:
        """Run the self-test in another process, at the priority of this thread; raises BundleError where it fails."""
        until, reason = self._failed.get(key, (0.0, ""))
        if time.monotonic() < until:
            raise BundleError(reason)
        path = bundle.path
        # What is damaged may be mended at any moment: that is not remembered.
        for name in bundle.manifest.files:
            bundle.file(name)
        if GOLDEN not in bundle.manifest.files:
            log.warning(
                "shadow: %s has no golden window, it is run without a self-test; export it again",
                path,
                extra={"camera": camera.name},
            )
            return
        try:
            made = self._test(path, camera.precision, camera.providers)
            if not made.passed:
                raise BundleError(
                    f"{path}: the self-test failed, this device does not compute in {made.precision} what the bundle's "
                    f"maker did: {'; '.join(made.problems)}"
                )
        except BundleError as error:
            self._failed[key] = (time.monotonic() + _AGAIN_SECONDS, str(error))
            raise

    def _forget(self, keys: set[str]) -> None:
        starts = {key: count for key, count in self._file.starts.items() if key not in keys}
        if starts == self._file.starts:
            return
        try:
            self._save(self._file.model_copy(update={"starts": starts}))
        except InputError as error:
            log.warning("shadow: that a candidate has held, or was ended in order, cannot be kept (%s)", error)

    def _save(self, file: _File) -> None:
        draft = self._path.with_name(f"{self._path.name}.part")
        try:
            write_to_disk(draft, (file.model_dump_json(indent=2) + "\n").encode())
            draft.replace(self._path)
            sync_directory(self._path.parent)
        except OSError as error:
            raise InputError(
                f"{self._path}: that a candidate is tried cannot be kept ({error.strerror or error}); make room or "
                "allow it"
            ) from error
        self._file = file


def _read(path: Path) -> _File:
    try:
        return _File.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _File()
    except (OSError, ValidationError) as error:
        log.warning("%s: cannot be read, how candidates did is lost (%s)", path, type(error).__name__)
        return _File()


def _key(path: Path, camera: CameraConfig) -> str:
    providers = "default" if camera.providers is None else ",".join(camera.providers)
    return f"{id_of(read_manifest(path))} {camera.precision} {providers}"
