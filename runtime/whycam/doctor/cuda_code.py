"""Which GPUs a CUDA library has code for, read from its file: without CUDA, and without loading it.

nvcc puts all GPU code into a section of the ELF file, `.nv_fatbin`: containers one after the other, each with entries
for one architecture, machine code (cubin) or the portable assembly that the driver compiles (PTX).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ELF64 = b"\x7fELF\x02\x01"
_SECTION = b".nv_fatbin"
_MAGIC = struct.pack("<I", 0xBA55ED50)
_CONTAINER = struct.Struct("<IHHQ")
"""Magic, version, bytes of this header, bytes of the entries."""
_ENTRY = struct.Struct("<HHIQIIHHI")
"""Kind, version, bytes of this header, bytes of the code; four numbers that do not matter here; architecture."""
_PTX, _CUBIN = 1, 2


@dataclass(frozen=True)
class CudaCode:
    """The architectures that a library has code for, as in sm_87."""

    cubins: frozenset[int]
    ptx: frozenset[int]

    def runs_on(self, sm: int, *, tegra: bool) -> bool:
        """Whether a GPU of compute capability `sm` can run it.

        Machine code runs on later GPUs of the same generation, but never from a card on a Jetson (CUDA's programming
        guide, binary compatibility); PTX is compiled for any later one.
        """
        if any(one <= sm for one in self.ptx) or sm in self.cubins:
            return True
        return not tegra and any(one // 10 == sm // 10 and one <= sm for one in self.cubins)

    def __str__(self) -> str:
        names = [f"sm_{one}" for one in sorted(self.cubins)] + [f"PTX {one}" for one in sorted(self.ptx)]
        return ", ".join(names) or "none"


def cuda_code(path: Path) -> CudaCode:
    """The GPU code in the shared library at `path`; only its headers are read.

    Raises OSError where it cannot be read, ValueError where it is no 64-bit ELF file or breaks off.
    """
    kinds: dict[int, set[int]] = {_CUBIN: set(), _PTX: set()}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            for start, end in _sections(data):
                for kind, architecture in _entries(data, start, end):
                    kinds.setdefault(kind, set()).add(architecture)
        except struct.error:
            raise ValueError(f"{path}: breaks off") from None
    return CudaCode(frozenset(kinds[_CUBIN]), frozenset(kinds[_PTX]))


def _sections(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Begin and end of each section of GPU code."""
    if data[:6] != _ELF64:
        raise ValueError("no 64-bit ELF file")
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    (text,) = struct.unpack_from("<Q", data, table + names * size + 0x18)
    for index in range(count):
        at = table + index * size
        (name,) = struct.unpack_from("<I", data, at)
        start, length = struct.unpack_from("<QQ", data, at + 0x18)
        if data[text + name : text + name + len(_SECTION) + 1] == _SECTION + b"\0":
            yield start, min(start + length, len(data))


def _entries(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Kind and architecture of each piece of code."""
    # Containers are aligned, with zeros in between.
    while (start := data.find(_MAGIC, start, end)) >= 0:
        _, _, header, length = _CONTAINER.unpack_from(data, start)
        at, start = start + header, start + header + length
        while at + _ENTRY.size <= min(start, end):
            kind, _, header, length, *_, architecture = _ENTRY.unpack_from(data, at)
            yield kind, architecture
            if header + length <= 0:
                return
            at += header + length
