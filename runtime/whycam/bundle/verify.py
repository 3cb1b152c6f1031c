"""Checking a whole bundle where it lies, a directory or an archive: signature, sizes, hashes, graphs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from whycam.bundle.archive import Progress, judge, opened, read_directory
from whycam.bundle.archive_reader import ArchiveReader, Head, check_sizes
from whycam.bundle.graph_check import check_graph
from whycam.bundle.manifest import Manifest
from whycam.bundle.signature import TrustedKeys
from whycam.bundle.store import Bundle
from whycam.errors import BundleError


@dataclass(frozen=True)
class Verified:
    """A bundle that is what its manifest says."""

    manifest: Manifest
    manifest_sha256: str
    signer: str | None
    """The trusted key that signed it; None where no signature was asked for."""


def verify(path: Path, keys: TrustedKeys | None, *, progress: Progress | None = None) -> Verified:
    """Check the bundle at `path`, all of it, as `unpack` does; it is not changed.

    Args:
        path: a bundle, or its archive.
        keys: the keys one of which must have signed it; None: it may be anyone's.
        progress: hears how far it is.

    Raises BundleError, as one of its kinds in `whycam.errors`, that says what is wrong and what to do.
    """
    head, signer = _directory(path, keys, progress) if path.is_dir() else _archive(path, keys, progress)
    return Verified(head.manifest, hashlib.sha256(head.manifest_bytes).hexdigest(), signer)


def _directory(path: Path, keys: TrustedKeys | None, progress: Progress | None) -> tuple[Head, str | None]:
    head = read_directory(path)
    check_sizes(head.manifest, path)
    signer = judge(head, keys, path)
    for inside in sorted(path.iterdir()):
        if inside.is_symlink():
            raise BundleError(f"{inside}: is a link; a bundle has plain files alone: copy the bundle again")
    bundle = Bundle(path, head.manifest)
    done, total = 0, sum(entry.bytes for entry in head.manifest.files.values())
    for name, entry in sorted(head.manifest.files.items()):
        bundle.file(name)
        done += entry.bytes
        if progress is not None:
            progress(done, total)
    return head, signer


def _archive(path: Path, keys: TrustedKeys | None, progress: Progress | None) -> tuple[Head, str | None]:
    with opened(path) as (file, label), opened(path) as (beside, _):
        reader = ArchiveReader(file, label)
        signer = judge(reader.head, keys, label)
        done, total = 0, sum(entry.bytes for entry in reader.head.manifest.files.values())
        for name, entry, content in reader.files():
            start = file.tell()
            for chunk in content:
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
            if name.endswith(".onnx"):
                check_graph(beside, path / name, start, start + entry.bytes)
    return reader.head, signer
