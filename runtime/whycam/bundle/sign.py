"""Signing a bundle in its place, a directory or an archive."""

from __future__ import annotations

import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from whycam.bundle.archive import Progress, pack, read_archive_head, read_directory, unpack
from whycam.bundle.manifest import SIGNATURE
from whycam.bundle.signature import Signatures, sign_manifest
from whycam.bundle.store import sync_directory, write_to_disk
from whycam.bundle.verify import verify
from whycam.errors import BundleError


def sign(path: Path, key: Ed25519PrivateKey, *, progress: Progress | None = None) -> tuple[str, ...]:
    """Sign the bundle or the archive at `path`, checked first: nobody signs what a device would refuse.

    Returns the ids of all keys that have signed it then. Raises BundleError where it is not whole, was changed
    meanwhile, or cannot be written; it is as it was then.
    """
    try:
        sign_here = _sign_directory if path.is_dir() else _sign_archive
        signatures = sign_here(path, key, progress)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written ({error.strerror or error}); make room or allow it") from error
    return tuple(each.key for each in signatures.signatures)


def _sign_directory(path: Path, key: Ed25519PrivateKey, progress: Progress | None) -> Signatures:
    head = read_directory(path)
    others = None if head.signature is None else Signatures.read(head.signature)
    verify(path, None, progress=progress)
    if read_directory(path).manifest_bytes != head.manifest_bytes:
        raise BundleError(f"{path}: was changed by something else meanwhile; run this again")
    signatures = sign_manifest(head.manifest_bytes, key, others)
    draft = path / f"{SIGNATURE}.part"
    try:
        write_to_disk(draft, signatures.to_bytes())
        draft.replace(path / SIGNATURE)
        sync_directory(path)
    finally:
        draft.unlink(missing_ok=True)
    return signatures


def _sign_archive(path: Path, key: Ed25519PrivateKey, progress: Progress | None) -> Signatures:
    # Beside it, where there is room for it; the name says whose it is where this is killed.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        bundle = unpack(path, Path(folder) / "bundle", None, progress=progress)
        mode = path.stat().st_mode & 0o777
        pack(bundle, path, key=key)
        path.chmod(mode)
    signature = read_archive_head(path).signature
    assert signature is not None
    return Signatures.read(signature)
