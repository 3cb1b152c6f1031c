"""What subscribers have set over MQTT, kept across restarts."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

log = logging.getLogger(__name__)

_ENTITIES = 4096


class CameraSettings(BaseModel):
    """What was set for a camera; None where the configuration stands."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    armed: bool | None = None
    thresholds: dict[str, float] = Field(default_factory=dict)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    cameras: dict[str, CameraSettings] = Field(default_factory=dict)
    announced: list[str] = Field(default_factory=list)
    drift: list[str] = Field(default_factory=list)
    entities: dict[str, str] = Field(default_factory=dict)


class Settings:
    """The settings of all cameras, in one JSON file that is replaced whole."""

    def __init__(self, path: Path) -> None:
        """The settings in the file at `path`; a damaged file is set aside with a line in the log."""
        self._path = path
        self._lock = threading.Lock()
        self._file = _File()
        try:
            self._file = _File.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            pass
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            aside = path.with_name(f"{path.name}.damaged")
            log.error(
                "%s: cannot be read, what was set over MQTT is lost; kept as %s (%s)", path, aside.name, type(error)
            )
            try:
                path.replace(aside)
            except OSError:
                log.error("%s: cannot be set aside", path)

    def of(self, camera: str) -> CameraSettings:
        """What was set for `camera`."""
        return self._file.cameras.get(camera, CameraSettings())

    def keep(self, camera: str, settings: CameraSettings) -> None:
        """Keep `settings` for `camera`, on the disk when this returns; raises OSError, with nothing changed."""
        with self._lock:
            self._save(self._file.model_copy(update={"cameras": {**self._file.cameras, camera: settings}}))

    @property
    def announced(self) -> frozenset[str]:
        """The cameras that subscribers were told of, by this process or one before it."""
        return frozenset(self._file.announced)

    @property
    def watched_for_drift(self) -> frozenset[str]:
        """The cameras of whose drift subscribers may have been told, by this process or one before it."""
        return frozenset(self._file.drift)

    def announce(self, cameras: Iterable[str], watched_for_drift: Iterable[str] = ()) -> None:
        """Keep that subscribers know of `cameras`, and of no other; raises OSError, with nothing changed.

        Those `watched_for_drift` are the ones of whose drift they may be told.
        """
        with self._lock:
            told = {"announced": sorted(cameras), "drift": sorted(watched_for_drift)}
            if told != {"announced": self._file.announced, "drift": self._file.drift}:
                self._save(self._file.model_copy(update=told))

    @property
    def entities(self) -> dict[str, str]:
        """What Home Assistant was ever told of: key and platform."""
        return dict(self._file.entities)

    def keep_entities(self, entities: Mapping[str, str]) -> None:
        """Keep that Home Assistant knows these, the newest thousands; raises OSError, with nothing changed."""
        with self._lock:
            newest = dict(list(entities.items())[-_ENTITIES:])
            if newest != self._file.entities:
                self._save(self._file.model_copy(update={"entities": newest}))

    def _save(self, file: _File) -> None:
        _replace(self._path, json.dumps(file.model_dump(mode="json"), indent=2) + "\n")
        self._file = file


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.part")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
