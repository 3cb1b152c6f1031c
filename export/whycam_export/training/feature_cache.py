"""Features on disk, by content: what a frozen backbone once computed is never computed again."""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whycam_export.errors import TrainingError

LIMIT_BYTES = 20 * 2**30
"""The cache's size after a training run, unless that run alone needs more."""

_TRAILER = struct.Struct("<4sBI")
_MAGIC = b"whyF"
_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class Features:
    """What is kept of a clip."""

    values: npt.NDArray[Any]
    """[windows, T, ...], f32 maps or, where no part of the backbone is frozen, uint8 frames."""
    padded: bool
    """Whether the clip was too short, so that its last frame is held."""


def default_cache() -> Path:
    """`whycam/features` in `$XDG_CACHE_HOME`, or in `~/.cache`."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "whycam" / "features"


class FeatureCache:
    """A folder of `.npy` files, each followed by a trailer with its checksum; entries are mapped, not loaded.

    An entry is written beside its place and moved there, so a reader never meets half of one; an entry whose checksum
    is wrong counts as absent.
    """

    def __init__(self, folder: Path) -> None:
        """Raise TrainingError where `folder` cannot be made."""
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def load(self, key: str) -> Features | None:
        """The entry `key`, its values mapped read-only; None where it is absent or damaged."""
        path = self._path(key)
        try:
            checksum, trailer = _checksum(path)
            magic, padded, expected = _TRAILER.unpack(trailer)
            if magic != _MAGIC or checksum != expected:
                return None
            values = np.load(path, mmap_mode="r", allow_pickle=False)
            os.utime(path)
        except (OSError, ValueError, EOFError, struct.error):
            return None
        return Features(values, bool(padded))

    def store(self, key: str, features: Features) -> Features:
        """Keep `features` under `key`; returns the entry as `load` does."""
        path = self._path(key)
        draft = None
        try:
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".", suffix=".part", delete=False) as file:
                draft = Path(file.name)
                np.save(file, features.values, allow_pickle=False)
                file.flush()
                checksum = _crc(draft, file.tell())
                file.write(_TRAILER.pack(_MAGIC, features.padded, checksum))
            draft.replace(path)
            draft = None
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            if draft is not None:
                draft.unlink(missing_ok=True)
        return Features(np.load(path, mmap_mode="r", allow_pickle=False), features.padded)

    def prune(self, keep: Collection[str], limit: int = LIMIT_BYTES) -> int:
        """Remove the entries unused for longest, but never those in `keep`, until at most `limit` bytes are left.

        Returns how many were removed.
        """
        kept = {self._path(key) for key in keep}
        entries = [(path.stat().st_mtime, path.stat().st_size, path) for path in self.folder.glob("*.npy")]
        excess = sum(size for _, size, _ in entries) - limit
        removed = 0
        for _, size, path in sorted(entries):
            if excess <= 0:
                break
            if path not in kept:
                path.unlink(missing_ok=True)
                excess -= size
                removed += 1
        return removed

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npy"

    def _unwritable(self, error: OSError) -> TrainingError:
        return TrainingError(f"{self.folder}: cannot be written ({error.strerror}); name another folder with --cache")


def _checksum(path: Path) -> tuple[int, bytes]:
    """CRC-32 of the file without its trailer, and the trailer."""
    size = path.stat().st_size - _TRAILER.size
    if size < 0:
        raise EOFError(path)
    with path.open("rb") as file:
        file.seek(size)
        trailer = file.read()
    return _crc(path, size), trailer


def _crc(path: Path, size: int) -> int:
    value = 0
    with path.open("rb") as file:
        while size > 0 and (block := file.read(min(_BLOCK, size))):
            value = zlib.crc32(block, value)
            size -= len(block)
    return value
