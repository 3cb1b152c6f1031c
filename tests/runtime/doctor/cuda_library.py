"""A shared library with GPU code, as nvcc lays it out: an ELF file whose section .nv_fatbin holds containers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

CUBIN, PTX = 2, 1
_MAGIC = 0xBA55ED50


def write_cuda_library(path: Path, containers: Sequence[Sequence[tuple[int, int]]]) -> Path:
    """Write a library whose containers hold entries of (kind, architecture)."""
    fatbin = b"".join(_container(entries) for entries in containers)
    names = b"\0.shstrtab\0.nv_fatbin\0.nv_fatbin_other\0"
    # The section that only begins with the name is none of them.
    sections = [(0, b""), (names.index(b".shstrtab"), names), (names.index(b".nv_fatbin\0"), fatbin)]
    sections.append((names.index(b".nv_fatbin_other"), _container([(CUBIN, 99)])))
    body, headers = b"", b""
    for name, content in sections:
        start = 64 + len(body)
        headers += struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, start, len(content), 0, 0, 16, 0)
        body += content
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 3, 183, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(sections), 1)
    path.write_bytes(header + body + headers)
    return path


def _container(entries: Sequence[tuple[int, int]]) -> bytes:
    body = b"".join(_entry(kind, architecture) for kind, architecture in entries)
    # nvcc aligns containers.
    return struct.pack("<IHHQ", _MAGIC, 1, 16, len(body)) + body + bytes(48)


def _entry(kind: int, architecture: int) -> bytes:
    code = bytes(range(200))
    fields = struct.pack("<HHIQIIHHI", kind, 0x101, 64, len(code), len(code) - 6, 0, 8, 1, architecture)
    return fields.ljust(64, b"\0") + code
