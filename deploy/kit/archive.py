"""A folder as one archive, the same bytes for the same content."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path


def pack(folder: Path, archive: Path, time: int) -> None:
    """Write `folder` under its own name into the gzipped tar `archive`: sorted, root's, each file of the time `time`.

    The archive appears whole or not at all.
    """
    unfinished = archive.with_name(archive.name + ".part")
    with (
        unfinished.open("wb") as file,
        # Wheels are compressed already.
        gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for path in [folder, *sorted(folder.rglob("*"))]:
            _add(tar, path, str(path.relative_to(folder.parent)), time)
    unfinished.replace(archive)


def _add(tar: tarfile.TarFile, path: Path, name: str, time: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.mtime = time
    if path.is_dir():
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
        return
    entry.size, entry.mode = path.stat().st_size, 0o755 if path.name.endswith("install.sh") else 0o644
    with path.open("rb") as content:
        tar.addfile(entry, content)
