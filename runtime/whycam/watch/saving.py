"""What was seen already, and alerts as files."""

from __future__ import annotations

import base64
import hashlib
import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from whycam.errors import InputError
from whycam.mqtt.payloads import ShadowView
from whycam.watch.reading import JPEG, Event

_REMEMBERED = 100_000


class Seen:
    """Which messages have come: a device sends an alert again where it does not know that it has arrived.

    By `event_id` for alerts, by content for what else lasts. The newest are remembered, a bounded number.
    """

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        self._keys: OrderedDict[tuple[str, ...], None] = OrderedDict()

    def has(self, event: Event) -> bool:
        """Whether it has come before."""
        return _key(event) in self._keys

    def add(self, event: Event) -> None:
        """Remember it."""
        self._keys[_key(event)] = None
        if len(self._keys) > self._limit:
            self._keys.popitem(last=False)


def _key(event: Event) -> tuple[str, ...]:
    # The topic, as another device's id must not hide an alert of ours.
    if event.alert is not None:
        return event.topic, event.alert.id, event.alert.event_id
    return event.topic, hashlib.sha256(event.raw).hexdigest()


class Folder:
    """Alerts as files: `DEVICE/CAMERA/ID/SEQUENCE-EVENT_ID.json` per message, and `heatmap.jpg`, the newest.

    A disagreement of a shadow is `disagreement.json` in a folder of its id, with `live.jpg` and `candidate.jpg`.
    """

    def __init__(self, directory: Path) -> None:
        """Save under `directory`, which is made. Raises InputError where nothing can be written there."""
        self._directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            probe = directory / f".writable.{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"--save {directory}: {error.strerror}; name a directory that can be written to"
            ) from error

    def path(self, event: Event) -> Path:
        """The file of what lasts."""
        alert, disagreement = event.alert, event.disagreement
        if alert is not None:
            episode, name = alert.id, f"{alert.sequence:04d}-{alert.event_id}.json"
        elif disagreement is not None:
            episode, name = disagreement.id, "disagreement.json"
        else:
            assert event.episode is not None
            episode, name = event.episode, "heatmap.jpg"
        assert event.camera is not None
        return self._directory / event.device / event.camera / episode / name

    def has(self, event: Event) -> bool:
        """Whether it has been saved, by an earlier run perhaps."""
        path = self.path(event)
        if event.alert is not None:
            return path.exists()
        try:
            return path.read_bytes() == event.raw
        except OSError:
            return False

    def save(self, event: Event) -> Path:
        """Write the file as a whole or not at all, so that it outlives a power cut. Raises OSError."""
        path = self.path(event)
        told = event.disagreement
        for view, name in ((told.live, "live.jpg"), (told.candidate, "candidate.jpg")) if told is not None else ():
            picture = _picture(view)
            if picture is not None:
                self._write(path.with_name(name), picture)
        return self._write(path, event.raw)

    def _write(self, path: Path, content: bytes) -> Path:
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        made = [parent for parent in path.parents if not parent.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        for directory in {path.parent, *(parent.parent for parent in made)}:
            _sync(directory)
        return path


def _picture(view: ShadowView) -> bytes | None:
    """The JPEG of one side of a disagreement; None where there is none."""
    if view.heatmap is None:
        return None
    try:
        picture = base64.b64decode(view.heatmap.image, validate=True)
    except ValueError:
        return None
    return picture if picture.startswith(JPEG) else None


def _sync(directory: Path) -> None:
    with suppress(OSError):  # not every file system can
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
