"""Where bundles may come from that are sent for: beginnings of URLs, and folders, as the configuration names them."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from urllib.parse import unquote, urlsplit

from whycam.errors import InputError

_PORTS = {"http": 80, "https": 443}
_MOST_CHARACTERS = 2048
# Beyond what URLs consist of; a backslash is a slash to some.
_STRANGE = frozenset(' "<>\\^`{|}')


@dataclass(frozen=True)
class _Place:
    scheme: str
    host: str
    port: int
    path: str

    def holds(self, other: _Place) -> bool:
        """Whether `other` is here or below, by whole steps of the path."""
        if (self.scheme, self.host, self.port) != (other.scheme, other.host, other.port):
            return False
        return other.path == self.path or other.path.startswith(f"{self.path.rstrip('/')}/")


class Origins:
    """What the configuration allows."""

    def __init__(self, allowed: Sequence[str]) -> None:
        """Raises ValueError where one of `allowed` is neither the beginning of a URL nor an absolute path."""
        self._places: list[_Place] = []
        self._folders: list[Path] = []
        for text in allowed:
            if text.startswith("/"):
                self._folders.append(Path(text))
                continue
            if "?" in text:
                raise ValueError(f"'{text}' has a '?', and names the beginning of URLs")
            try:
                self._places.append(_place(text))
            except ValueError as error:
                raise ValueError(f"'{text}' {error}; or be a folder's absolute path") from None

    def __bool__(self) -> bool:
        """Whether anything is allowed."""
        return bool(self._places or self._folders)

    def check_url(self, url: str) -> None:
        """Raise InputError where bundles may not come from `url`."""
        try:
            place = _place(url)
        except ValueError as error:
            raise InputError(f"url: {error}") from None
        if not any(one.holds(place) for one in self._places):
            raise InputError(f"url: bundles may not come from {place.scheme}://{place.host}{place.path} here")

    def open_file(self, path: str) -> BufferedReader:
        """The file at `path`, open; raises InputError where it is none, or lies elsewhere, links followed."""
        if not path.startswith("/") or "\0" in path:
            raise InputError("file: must be an absolute path")
        # Before it is opened, which alone does something to a device; nor is it the sender's to find out what else lies
        # here.
        if not self._holds(Path(os.path.realpath(path))):
            raise _elsewhere(path)
        try:
            # Not to wait for the other end of a pipe.
            file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        except OSError as error:
            raise InputError(f"file: {path} cannot be read ({error.strerror})") from None
        try:
            # Of what was opened: what the path leads to may be another by now.
            real = Path(f"/proc/self/fd/{file.fileno()}").readlink()
            if not self._holds(real):
                raise _elsewhere(path)
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"file: {path} is no plain file")
        except BaseException:
            file.close()
            raise
        return file

    def _holds(self, real: Path) -> bool:
        return any(Path(os.path.realpath(folder)) in real.parents for folder in self._folders)


def _elsewhere(path: str) -> InputError:
    return InputError(f"file: bundles may not come from {path} here")


def _place(url: str) -> _Place:
    """Where `url` leads; raises ValueError, with the reason, where servers might not agree on that."""
    if len(url) > _MOST_CHARACTERS or not url.isascii() or not url.isprintable() or _STRANGE & set(url):
        raise ValueError("is no URL: it is too long, or has characters that must be escaped")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("must begin with https:// or http:// and a host")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("has a user, a password or a fragment: leave that out")
    try:
        port = parts.port or _PORTS[parts.scheme]
    except ValueError:
        raise ValueError("has a port that is none") from None
    for step in parts.path.split("/"):
        plain = unquote(step)
        # Escaped twice, it would mean another path to who unescapes twice.
        # Some take what follows a semicolon for parameters, and ..; for two dots.
        if plain.partition(";")[0] in (".", "..") or {"/", "\\", "%"} & set(plain) or not plain.isprintable():
            raise ValueError("has a path with '.', '..', or an escaped slash or percent sign")
    return _Place(parts.scheme, parts.hostname, port, parts.path or "/")
