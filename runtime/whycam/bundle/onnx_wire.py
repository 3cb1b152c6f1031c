"""The fields of an ONNX file as they lie in it (protocol buffers' wire format), found without reading the weights.

A library would build the whole message in memory, weights and all, and from a file of empty nodes forty times its size.
What a reader of the file might take in another way is refused: groups, numbers of more bytes than they may have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

_BLOCK = 1 << 14
# As protocol buffers limit lengths; a tag has 32 bits.
_MOST_LENGTH, _MOST_TAG = (1 << 31) - 1, (1 << 32) - 1


class WireError(ValueError):
    """Bytes that are no message, or one that readers may take in different ways."""


class Message:
    """The bytes from `start` to `end` of `file`, which can seek; `budget` bounds how many fields are read in all."""

    def __init__(self, file: BinaryIO, start: int, end: int, budget: int) -> None:
        self.start = start
        self.end = end
        self._file = file
        self._budget = budget
        self._block, self._block_start = b"", 0

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """The fields of the message between `start` and `end`: number, wire type, and where the value is.

        Of a field with a length, that is where its content begins and ends; of a number, the number itself, twice.
        Raises WireError where the bytes are no fields, or more than the budget allows.
        """
        at = start
        while at < end:
            self._budget -= 1
            if self._budget < 0:
                raise WireError("more fields than a network has")
            tag, at = self._varint(at, end, 5)
            number, kind = tag >> 3, tag & 7
            if number == 0 or tag > _MOST_TAG:
                raise WireError("a field without a number")
            if kind == LENGTH:
                length, at = self._varint(at, end, 5)
                if length > min(end - at, _MOST_LENGTH):
                    raise WireError("a field longer than what is left")
                yield number, kind, at, at + length
                at += length
            elif kind == VARINT:
                value, at = self._varint(at, end, 10)
                yield number, kind, value, value
            elif kind in (FIXED64, FIXED32):
                at += 8 if kind == FIXED64 else 4
                if at > end:
                    raise WireError("a field longer than what is left")
                yield number, kind, 0, 0
            else:
                raise WireError("a field of a kind that ONNX has not")

    def text(self, start: int, end: int) -> str:
        """The text between `start` and `end`, at most its first 200 bytes."""
        self._file.seek(start)
        return self._file.read(min(end - start, 200)).decode("utf-8", "replace")

    def _varint(self, at: int, end: int, longest: int) -> tuple[int, int]:
        offset = at - self._block_start
        if at < end and 0 <= offset < len(self._block) and (value := self._block[offset]) < 0x80:
            return value, at + 1
        value = 0
        for index in range(longest):
            if at >= end:
                raise WireError("it ends within a number")
            offset = at - self._block_start
            if not 0 <= offset < len(self._block):
                self._file.seek(at)
                self._block, self._block_start, offset = self._file.read(_BLOCK), at, 0
                if not self._block:
                    raise WireError("it ends too early")
            byte = self._block[offset]
            at += 1
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value, at
        raise WireError("a number with too many bytes")
