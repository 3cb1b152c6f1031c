"""Archives made by hand, as an attacker makes them: what is written, and where, is for the test to say."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from whycam.bundle.keys import make_keys, read_private_key

BLOCK = 512
END = bytes(2 * BLOCK)


@dataclass(frozen=True)
class Signer:
    key: Ed25519PrivateKey
    private: Path
    public: Path
    id: str


def signer(name: str, folder: Path) -> Signer:
    """A pair of keys as `whycam bundle keygen` makes them."""
    pair = make_keys(name, folder)
    return Signer(read_private_key(pair.private, lambda: b""), pair.private, pair.public, pair.id)


def member(name: str, content: bytes = b"", *, size: int | None = None, **fields: Any) -> bytes:
    """A member as Python's own library writes it, with other `fields` of its header where they are given."""
    info = tarfile.TarInfo(name)
    info.size = len(content) if size is None else size
    for field, value in fields.items():
        setattr(info, field, value)
    # For plain files, Python's versions differ in these.
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    header[329:345] = bytes(16)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % BLOCK)


def members(archive: bytes) -> dict[str, bytes]:
    """The content of each member, in their order."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for info in tar:
            file = tar.extractfile(info)
            found[info.name] = b"" if file is None else file.read()
    return found


def joined(parts: Iterable[tuple[str, bytes]]) -> bytes:
    """An archive of these members."""
    return b"".join(member(name, content) for name, content in parts) + END


def sealed(archive: bytes, files: dict[str, bytes], **changes: Any) -> bytes:
    """`archive` with these files in place of its own, unsigned, the hashes in its manifest made to fit.

    `changes` are further keys of the manifest.
    """
    found = members(archive)
    manifest = json.loads(found.pop("manifest.json"))
    found.pop("manifest.sig", None)
    found |= files
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in found.items()
    }
    manifest |= changes
    return joined([("manifest.json", json.dumps(manifest).encode()), *sorted(found.items())])
