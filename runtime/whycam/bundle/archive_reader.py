"""Reading a bundle's archive, member by member, in the one form that `whycam bundle pack` writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from whycam.bundle.manifest import MANIFEST, NAME_BYTES, SIGNATURE, FileEntry, Manifest
from whycam.bundle.store import MOST_MANIFEST_BYTES, MOST_SIGNATURE_BYTES, parse_manifest
from whycam.errors import BundleError, BundleTooLargeError, DamagedBundleError, NotABundleError

BLOCK = 512
END = bytes(2 * BLOCK)
"""What an archive ends with."""

MOST_FILES, MOST_FILE_BYTES, MOST_TOTAL_BYTES = 256, 4 << 30, 8 << 30

_CHUNK = 1 << 20
_AGAIN = "copy it again, or pack the bundle again"
_KINDS = {b"1": "a link", b"2": "a link", b"3": "a device", b"4": "a device", b"5": "a folder", b"6": "a pipe"}


@dataclass(frozen=True)
class Head:
    """What an archive begins with, and a bundle is judged by before anything else of it is read."""

    manifest_bytes: bytes
    manifest: Manifest
    signature: bytes | None


class ArchiveReader:
    """An archive whose manifest and signature have been read; neither is trusted yet."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Read the head of the archive in `file`, which need not seek; messages call it `name`.

        Raises NotABundleError where it is no archive of a bundle, BundleTooLargeError where the manifest asks for more
        than whycam makes, and BundleError where the manifest is damaged.
        """
        self._file = file
        self._name = name
        self.head = self._read_head()

    def files(self) -> Iterator[tuple[str, FileEntry, Iterator[bytes]]]:
        """Each file of the manifest in turn, with its content, which must be read to its end before the next.

        Raises DamagedBundleError where the archive is not the one that packing these files writes, or a file's SHA-256
        is not the manifest's: at the end of its content, or of the archive after the last.
        """
        header = self._next
        for index, (name, entry) in enumerate(sorted(self.head.manifest.files.items())):
            self._expect(self._exactly(BLOCK) if index else header, name, entry.bytes)
            yield name, entry, self._content(name, entry)
        if self._exactly(len(END)) != END or self._file.read(1):
            raise DamagedBundleError(f"{self._name}: goes on after its last file; {_AGAIN}")

    def _read_head(self) -> Head:
        content = self._small(self._file.read(BLOCK), MANIFEST, MOST_MANIFEST_BYTES)
        if content is None:
            raise NotABundleError(f"{self._name}: is no archive of a bundle; make one with `whycam bundle pack`")
        manifest = parse_manifest(content, Path(self._name) / MANIFEST)
        check_sizes(manifest, self._name)
        self._next = self._exactly(BLOCK)
        signature = self._small(self._next, SIGNATURE, MOST_SIGNATURE_BYTES)
        if signature is not None:
            self._next = self._exactly(BLOCK)
        return Head(content, manifest, signature)

    def _small(self, header: bytes, name: str, most: int) -> bytes | None:
        """The content of the member `name` where `header` is its own."""
        size = _size(header)
        if size is None or header != member_header(name, size):
            return None
        if size > most:
            raise BundleTooLargeError(f"{self._name}: its {name} has {size} bytes; none has more than {most}")
        content = self._exactly(size)
        self._padding(size)
        return content

    def _expect(self, header: bytes, name: str, size: int) -> None:
        if header == member_header(name, size):
            return
        kind = _KINDS.get(header[156:157])
        found = f"{kind} stands" if kind else "something else stands"
        raise DamagedBundleError(f"{self._name}: {found} where '{name}' with {size} bytes should; {_AGAIN}")

    def _content(self, name: str, entry: FileEntry) -> Iterator[bytes]:
        digest = hashlib.sha256()
        left = entry.bytes
        while left:
            chunk = self._exactly(min(left, _CHUNK))
            left -= len(chunk)
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != entry.sha256:
            raise DamagedBundleError(f"{self._name}: '{name}' is damaged, its SHA-256 is not the manifest's; {_AGAIN}")
        self._padding(entry.bytes)

    def _padding(self, size: int) -> None:
        if any(self._exactly(-size % BLOCK)):
            raise DamagedBundleError(f"{self._name}: has bytes between its files; {_AGAIN}")

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            part = self._file.read(count)
            if not part:
                raise DamagedBundleError(f"{self._name}: ends too early; {_AGAIN}")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def check_sizes(manifest: Manifest, name: str | Path) -> None:
    """Raise BundleTooLargeError where a bundle has more or larger files than any that whycam makes."""
    sizes = [entry.bytes for entry in manifest.files.values()]
    if len(sizes) > MOST_FILES:
        raise BundleTooLargeError(f"{name}: has {len(sizes)} files; a bundle has at most {MOST_FILES}")
    if max(sizes) > MOST_FILE_BYTES or sum(sizes) > MOST_TOTAL_BYTES:
        raise BundleTooLargeError(
            f"{name}: its files have {sum(sizes)} bytes, the largest {max(sizes)}; a bundle has at most "
            f"{MOST_TOTAL_BYTES >> 30} GiB, a file at most {MOST_FILE_BYTES >> 30} GiB"
        )


def member_header(name: str, size: int) -> bytes:
    """The header of the plain file `name`, of at most 100 bytes, with `size` bytes: USTAR without time and owner."""
    encoded = name.encode()
    if len(encoded) > NAME_BYTES:
        raise BundleError(f"'{name}' is longer than {NAME_BYTES} bytes")
    header = bytearray(BLOCK)
    header[: len(encoded)] = encoded
    header[100:156] = b"0000644\0" + 2 * b"0000000\0" + b"%011o\0" % size + b"00000000000\0" + b" " * 8
    header[156:157] = b"0"
    header[257:265] = b"ustar\00000"
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _size(header: bytes) -> int | None:
    field = header[124:135]
    return int(field, 8) if len(header) == BLOCK and field.isdigit() and not {*b"89"} & {*field} else None
