"""What was computed once is kept on disk, so that a search that was killed goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whycam_calibration.errors import CalibrationError

Arrays = dict[str, NDArray[Any]]


def default_cache() -> Path:
    """`whycam/calibration` in `$XDG_CACHE_HOME`, or in `~/.cache`."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "whycam" / "calibration"


class Cache:
    """A folder for all that depends on the same things; a file appears whole or not at all; a damaged one is absent."""

    def __init__(self, root: Path, depends_on: Mapping[str, Any]) -> None:
        """The folder in `root` for what depends on these values, which JSON can take.

        Raises CalibrationError where it cannot be made.
        """
        text = json.dumps(depends_on, sort_keys=True)
        self.folder = root / hashlib.sha256(text.encode()).hexdigest()[:24]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write("depends-on.json", text.encode())
        except OSError as error:
            raise self._unwritable(error) from error

    def values(self, name: str, compute: Callable[[], Any]) -> Any:
        """What `compute` gives, which JSON can take; or gave, where NAME.json is there."""
        path = self.folder / f"{name}.json"
        with contextlib.suppress(OSError, ValueError):
            return json.loads(path.read_bytes())
        found = compute()
        self._write(path.name, json.dumps(found).encode())
        return found

    def arrays(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """What `compute` gives; or gave, where NAME.npz is there."""
        path = self.folder / f"{name}.npz"
        damage = contextlib.suppress(OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)
        with damage, np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
        found = compute()
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **found)  # type: ignore[arg-type]  # it sees its own `allow_pickle` in the names
        self._write(path.name, buffer.getvalue())
        return found

    def _write(self, name: str, content: bytes) -> None:
        draft = self.folder / f".{name}.{os.getpid()}.part"
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.folder / name)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> CalibrationError:
        return CalibrationError(
            f"{self.folder}: cannot be written ({error.strerror or error}); name another folder with --cache"
        )
