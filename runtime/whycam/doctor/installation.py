"""What is examined: a machine, the configuration, who the service is, and what several checks want to know."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from whycam.doctor.asking import NoAnswerError, answer
from whycam.doctor.jetson import chip_of
from whycam.doctor.machine import Machine
from whycam.doctor.unit import unit_of
from whycam.doctor.users import User, groups_of, this_user, user_named

if TYPE_CHECKING:
    # Not where only the platform is looked at: it brings numpy, and that may be what is broken.
    from whycam.config.models import Broker, Camera, Config

T = TypeVar("T")


class Installation:
    """A device as it is installed; what takes a while is found out once, by the first check that asks."""

    def __init__(
        self, machine: Machine, path: Path | None, seconds: float = 30.0, config: Config | None = None
    ) -> None:
        """Of `machine`, with the `config` that is in the file at `path`, examined for `seconds` at most."""
        self.machine = machine
        self.path = path
        self.config = config
        """None: the platform alone is examined."""
        self.deadline = time.monotonic() + seconds
        """In monotonic seconds."""
        self.seconds = seconds
        self.unit = unit_of(machine)
        self.chip = chip_of(machine)
        self.user = self._user()
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._known: dict[str, Any] = {}

    def until(self, share: float) -> float:
        """The deadline of what may take this share of the whole time, in monotonic seconds."""
        return min(time.monotonic() + share * self.seconds, self.deadline - 0.5)

    def once(self, name: str, find: Callable[[], T]) -> T:
        """What `find` returns or raises, called at most once for each `name`."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._known:
                try:
                    self._known[name] = (find(), None)
                except Exception as error:
                    self._known[name] = (None, error)
        found, reason = self._known[name]
        if reason is not None:
            raise reason
        return cast(T, found)

    def library(self, name: str) -> dict[str, Any]:
        """What `probe` tells of a library. Raises NoAnswerError."""
        return self.once(name, partial(answer, name, {}, self.user, self.until(0.5)))

    def loads(self, name: str) -> bool:
        """Whether the library can be loaded at all."""
        try:
            self.library(name)
        except NoAnswerError:
            return False
        return True

    @property
    def state(self) -> Path | None:
        """The state directory: the configuration's, else the unit's, else that of a service started by hand."""
        if self.config is None:
            return None
        if self.config.state_directory is None and self.unit is not None and self.unit.state is not None:
            return self.unit.state
        return self.config.state

    def secret_file(self, file: Path | None, credential: str | None) -> Path | None:
        """Where a secret is: `file`, or what the unit loads as `credential`; None where nothing says."""
        if credential is None:
            return file
        return self.unit.credential(credential) if self.unit is not None else None

    def broker(self) -> Broker:
        """The broker, its password as a file where the unit tells where the credential comes from."""
        assert self.config is not None
        broker = self.config.broker
        file = self.secret_file(None, broker.password_credential)
        if file is None:
            return broker
        return broker.model_copy(update={"password_file": file, "password_credential": None})

    def camera(self, camera: Camera) -> Camera:
        """`camera`, in the same way."""
        file = self.secret_file(None, camera.credentials_credential)
        if file is None:
            return camera
        return camera.model_copy(update={"credentials_file": file, "credentials_credential": None})

    def _user(self) -> User:
        name = None if self.unit is None else self.unit.value("User")
        found = None if name is None else user_named(self.machine, name)
        if self.unit is None or found is None:
            return this_user()
        groups = groups_of(self.machine)
        more = {groups[group][0] for group in self.unit.words("SupplementaryGroups") if group in groups}
        return User(found.name, found.uid, found.gid, found.groups | more, self.unit.environment)
