"""A bundle on disk: reading it, checking its hashes, writing its manifest."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from pydantic import ValidationError

from whycam.bundle.graph_check import check_graph
from whycam.bundle.manifest import MANIFEST, SIGNATURE, FileEntry, Manifest
from whycam.errors import BundleError, BundleTooLargeError, DamagedBundleError
from whycam.printable import printable

MOST_MANIFEST_BYTES = 4 << 20
MOST_SIGNATURE_BYTES = 64 << 10


@dataclass(frozen=True)
class Bundle:
    """A bundle directory whose manifest has been read; its files are checked when they are used."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Bundle:
        """Read the manifest of the bundle at `path`.

        Raises BundleError where there is no bundle, or its manifest is damaged or of another schema.
        """
        directory = Path(path)
        if directory.is_file():
            raise BundleError(f"{directory}: is a file; `whycam bundle install` it where it is an archive")
        if not directory.is_dir():
            raise BundleError(f"{directory}: no such bundle (a directory that `whycam export` wrote)")
        return cls(directory, parse_manifest(read_manifest(directory), directory / MANIFEST))

    def file(self, name: str) -> Path:
        """The path of the bundle's file `name`, its SHA-256 checked, and what it asks for where it is a graph.

        Raises BundleError where the manifest does not name it, or it is missing, has been changed or is not safe.
        """
        entry = self.manifest.files.get(name)
        if entry is None:
            raise BundleError(f"{self.path}: the manifest names no file '{name}'; export the model again")
        path = self.path / name
        if not path.is_file():
            raise BundleError(f"{path}: missing from the bundle; copy or export the bundle again")
        try:
            if file_entry(path) != entry:
                raise DamagedBundleError(
                    f"{path}: damaged, its SHA-256 is not the manifest's; copy or export the bundle again"
                )
            if name.endswith(".onnx"):
                with path.open("rb") as file:
                    check_graph(file, path)
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror or error}); allow it") from error
        return path

    @property
    def signed(self) -> bool:
        """Whether somebody has signed it; who, `whycam.bundle.archive.judge` tells."""
        return (self.path / SIGNATURE).exists()

    @contextmanager
    def checking(self, names: Iterable[str]) -> Iterator[None]:
        """Check the files `names` in a thread of its own, beside what is done inside.

        Raises BundleError at the end, as `file` does for the first that is not as it was.
        """
        pool = ThreadPoolExecutor(1, "checking")
        try:
            checks = [pool.submit(self.file, name) for name in names]
            yield
            for check in checks:
                check.result()
        finally:
            pool.shutdown(cancel_futures=True)


def file_entry(path: Path) -> FileEntry:
    """Size and SHA-256 of the file at `path`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return FileEntry(sha256=digest.hexdigest(), bytes=path.stat().st_size)


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write `manifest` into the bundle at `directory`, whole or not at all."""
    text = json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=2) + "\n"
    draft = directory / f"{MANIFEST}.part"
    write_to_disk(draft, text.encode())
    draft.replace(directory / MANIFEST)


def write_to_disk(path: Path, content: bytes) -> None:
    """Write the file at `path`; it is on the disk then, so that a rename that follows outlives a power cut."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Put the names in `directory` on the disk, so that they outlive a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_plain(path: Path, *, follow: bool = True) -> BufferedReader:
    """The plain file at `path`, open to be read; where not `follow`, it must not be a link. Raises OSError."""
    # Not to wait for the other end of a pipe.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    file = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "is no plain file")
    return file


def read_manifest(directory: Path) -> bytes:
    """The bytes of the manifest of the bundle at `directory`; raises BundleError where it cannot be read."""
    try:
        with open_plain(directory / MANIFEST) as file:
            return file.read(MOST_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        raise BundleError(f"{directory}: not a bundle, it has no {MANIFEST}; export the model again") from None
    except OSError as error:
        raise BundleError(f"{directory / MANIFEST}: cannot be read ({error.strerror}); allow it") from error


def read_signature(directory: Path) -> bytes | None:
    """The bytes of the signature of the bundle at `directory`, None where it has none; raises BundleError."""
    try:
        with open_plain(directory / SIGNATURE) as file:
            return file.read(MOST_SIGNATURE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(f"{directory / SIGNATURE}: cannot be read ({error.strerror}); allow it") from error


def parse_manifest(content: bytes, path: Path) -> Manifest:
    """The manifest whose bytes, of the file at `path`, are `content`.

    Raises BundleError where it is damaged or of another schema, BundleTooLargeError where it is over 4 MiB.
    """
    if len(content) > MOST_MANIFEST_BYTES:
        raise BundleTooLargeError(f"{path}: over {MOST_MANIFEST_BYTES >> 20} MiB; no manifest of a bundle is so large")
    try:
        return Manifest.model_validate_json(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: cannot be read ({error.reason}); copy or export the bundle again") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:200] or "the file"
        wrong = printable(f"{where}: {first['msg'].removeprefix('Value error, ')[:300]}")
        raise BundleError(f"{path}: {wrong}; export the model again with this version") from None
