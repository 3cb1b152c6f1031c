"""The store of installed bundles: versions side by side, and a link to the one that is current.

    STORE/NAME/versions/ID/     a version: a bundle, and ID is the beginning of its manifest's SHA-256
    STORE/NAME/current          -> versions/ID, what cameras name in the configuration
    STORE/NAME/candidate        -> versions/ID, what shadows name: beside it, and not yet current
    STORE/NAME/record.json      where the versions come from, what is on trial, what has happened

Each change is one rename: a version appears whole, the link points to the old one or to the new. What a power cut left
half done is taken back, or finished, at the next use.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whycam.deployment.slot import NAME, VERSIONS, Installed, Slot, unwritable
from whycam.errors import InputError


class BundleStore:
    """All installed bundles of a device."""

    def __init__(self, root: Path) -> None:
        """In the folder `root`, which need not be there."""
        self.root = root

    def slot(self, name: str) -> Slot:
        """The place of the bundle `name`; raises InputError where no bundle may be called so."""
        if not NAME.fullmatch(name):
            raise InputError(
                f"bundle '{name}': must be called by 1 to 64 letters, digits, '_' or '-' to be installed; export it "
                "under such a name"
            )
        return Slot(self.root / name)

    def names(self) -> list[str]:
        """The bundles of which a version is there, sorted; raises InputError where the store cannot be read."""
        try:
            found = [path for path in self.root.iterdir() if NAME.fullmatch(path.name) and (path / VERSIONS).is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise InputError(f"{self.root}: cannot be read ({error.strerror}); look as root") from error
        return sorted(path.name for path in found)

    def look(self) -> list[Installed]:
        """What is installed."""
        return [found for name in self.names() if (found := self.slot(name).look()).record.versions or found.current]

    @contextmanager
    def installing(self) -> Iterator[None]:
        """Be the only one that installs; leftovers of earlier ones are removed first.

        Raises InputError where another process installs, or the store cannot be written to.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".installing").open("ab")
        except OSError as error:
            raise unwritable(self.root, error) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{self.root}: another installation is at work; wait for its end") from None
            for name in self.names():
                for part in (self.root / name / VERSIONS).glob(".*.part"):
                    shutil.rmtree(part, ignore_errors=True)
            yield
