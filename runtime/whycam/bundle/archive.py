"""A bundle as one file, `NAME.whycam.tar`, for the way to a device.

A plain tar archive (USTAR) in one form only: first the manifest, then the signature where there is one, then the files
that the manifest names, sorted; no times, no owners. So the same bundle gives the same bytes, and reading is safe:
whatever is not exactly what packing the manifest's files would have written is refused, be it a link, a device, a path,
a second member of the same name, an extension of the format, or one byte too many.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from whycam.bundle.archive_reader import BLOCK, END, ArchiveReader, Head, check_sizes, member_header
from whycam.bundle.graph_check import check_graph
from whycam.bundle.manifest import MANIFEST, SIGNATURE
from whycam.bundle.signature import Signatures, TrustedKeys, check_signature, sign_manifest
from whycam.bundle.store import Bundle, parse_manifest, read_manifest, read_signature, sync_directory, write_to_disk
from whycam.errors import BundleError, BundleTooLargeError, NotABundleError

SUFFIX = ".whycam.tar"

Progress = Callable[[int, int], None]
"""Called with the bytes that are done and those of all files."""

_CHUNK = 1 << 20
_MIB = 1 << 20
_BLOCK = 4096
"""Of a disk: a file takes up whole ones."""
_BESIDE = 64 << 10
"""For the manifest, the signature, folders, and what the store notes."""


def pack(
    bundle: Bundle, output: Path, *, key: Ed25519PrivateKey | None = None, progress: Progress | None = None
) -> None:
    """Write `bundle`, all of it checked, into the archive `output`, with the signatures that it has and that of `key`.

    Raises BundleError where a file is damaged, a graph is one that devices refuse, or `output` cannot be written; what
    was there before is there still.
    """
    head = read_directory(bundle.path)
    if key is not None:
        others = None if head.signature is None else Signatures.read(head.signature)
        head = Head(head.manifest_bytes, head.manifest, sign_manifest(head.manifest_bytes, key, others).to_bytes())
    check_sizes(head.manifest, bundle.path)
    draft = output.with_name(f"{output.name}.part")
    try:
        with draft.open("wb") as file:
            _write(file, bundle, head, progress)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(output)
    except OSError as error:
        raise BundleError(f"{output}: cannot be written ({error.strerror or error}); make room or allow it") from error
    finally:
        draft.unlink(missing_ok=True)


def unpack(
    archive: BinaryIO | Path,
    into: Path,
    keys: TrustedKeys | None,
    *,
    keep_free: int = 0,
    progress: Progress | None = None,
) -> Bundle:
    """Make the folder `into` of the bundle in `archive`, all of it checked, and on the disk.

    Manifest and signature are judged before any other member is read; each file's hash is checked while it is written,
    each graph before the next file. Where anything is wrong, `into` is removed again.

    Args:
        archive: the file, or a stream of it, which is read once, to its end.
        into: the folder, which must not be there; its parent must.
        keys: the keys one of which must have signed the bundle; None: it may be anyone's.
        keep_free: bytes that must stay free on the disk.
        progress: hears how far it is.

    Raises BundleError, as one of its kinds in `whycam.errors`, that says what is wrong and what to do.
    """
    with opened(archive) as (file, name):
        reader = ArchiveReader(file, name)
        judge(reader.head, keys, name)
        check_room(reader.head, into, name, keep_free)
        try:
            into.mkdir()
            try:
                _unpack(reader, into, name, progress)
            except BaseException:
                shutil.rmtree(into, ignore_errors=True)
                raise
        except FileExistsError:
            raise BundleError(f"{into}: is there already; name another folder") from None
        except OSError as error:
            reason = error.strerror or error
            raise BundleError(f"{into}: cannot be written ({reason}); make room or allow it") from error
    return Bundle(into, reader.head.manifest)


def read_archive_head(archive: Path) -> Head:
    """The manifest and the signature of the archive at `archive`, neither trusted; raises as `unpack` does."""
    with opened(archive) as (file, name):
        return ArchiveReader(file, name).head


def read_directory(directory: Path) -> Head:
    """The manifest and the signature of the bundle at `directory`, neither trusted; raises as `Bundle.open` does."""
    Bundle.open(directory)
    content = read_manifest(directory)
    return Head(content, parse_manifest(content, directory / MANIFEST), read_signature(directory))


def judge(head: Head, keys: TrustedKeys | None, name: str | Path) -> str | None:
    """The name of the trusted key that signed the bundle called `name`; None where `keys` is None.

    Raises BundleError as `check_signature` does.
    """
    if keys is None:
        return None
    try:
        return check_signature(head.manifest_bytes, head.signature, keys)
    except BundleError as error:
        raise type(error)(f"{name}: {error}") from None


def check_room(head: Head, into: Path, name: str | Path, keep_free: int) -> None:
    """Raise BundleTooLargeError unless `keep_free` bytes stay free when the bundle called `name` is in `into`."""
    sizes = (entry.bytes for entry in head.manifest.files.values())
    wanted = sum(-(-size // _BLOCK) * _BLOCK for size in sizes) + _BESIDE
    try:
        free = shutil.disk_usage(into.parent).free
    except OSError as error:
        raise BundleError(f"{into.parent}: cannot be read ({error.strerror}); make it, or allow it") from error
    if wanted + keep_free > free:
        stay = f", of which {keep_free / _MIB:.1f} MiB stay free for alerts (evidence.min_free_bytes)"
        raise BundleTooLargeError(
            f"{name}: its files need {wanted / _MIB:.1f} MiB, and {into.parent} has {free / _MIB:.1f} MiB left"
            f"{stay if keep_free else ''}; make room"
        )


def _unpack(reader: ArchiveReader, into: Path, name: str, progress: Progress | None) -> None:
    head = reader.head
    done, total = 0, sum(entry.bytes for entry in head.manifest.files.values())
    for file_name, _, content in reader.files():
        with (into / file_name).open("xb") as file:
            for chunk in content:
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
            file.flush()
            os.fsync(file.fileno())
        if file_name.endswith(".onnx"):
            with (into / file_name).open("rb") as graph:
                check_graph(graph, Path(name) / file_name)
    if head.signature is not None:
        write_to_disk(into / SIGNATURE, head.signature)
    # The last: a folder without a manifest is no bundle.
    write_to_disk(into / MANIFEST, head.manifest_bytes)
    sync_directory(into)


def _write(file: BinaryIO, bundle: Bundle, head: Head, progress: Progress | None) -> None:
    _write_small(file, MANIFEST, head.manifest_bytes)
    if head.signature is not None:
        _write_small(file, SIGNATURE, head.signature)
    done, total = 0, sum(entry.bytes for entry in head.manifest.files.values())
    for name, entry in sorted(head.manifest.files.items()):
        with bundle.file(name).open("rb") as source:
            file.write(member_header(name, entry.bytes))
            while chunk := source.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
        file.write(bytes(-entry.bytes % BLOCK))
    file.write(END)


def _write_small(file: BinaryIO, name: str, content: bytes) -> None:
    file.write(member_header(name, len(content)) + content + bytes(-len(content) % BLOCK))


@contextmanager
def opened(archive: BinaryIO | Path) -> Iterator[tuple[BinaryIO, str]]:
    """The file of an archive, and what messages call it; raises BundleError where it cannot be read."""
    if not isinstance(archive, Path):
        yield archive, str(getattr(archive, "name", "the archive"))
        return
    try:
        # Not to wait for the other end of a pipe.
        file = os.fdopen(os.open(archive, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise BundleError(f"{archive}: cannot be read ({error.strerror}); is the name right?") from None
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise NotABundleError(f"{archive}: is no file; copy the archive to the disk first")
        yield file, str(archive)
