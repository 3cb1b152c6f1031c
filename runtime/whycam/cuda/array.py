"""Arrays in a device's memory."""

from __future__ import annotations

import math
import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from whycam.cuda.device import Device

_SMALLEST = 256
_ALIGNED = 16
"""Bytes: cuDNN takes no array for granted that begins elsewhere."""


class Pool:
    """A device's memory, in blocks that come back here when the last array in them is gone, and go out again.

    The sizes of a model's arrays recur, so the pool stops growing once all have been there. It never shrinks; when it
    goes, it leaves its memory to the pools that follow: CUDA frees memory where its context is current alone, and the
    last array may go in any thread.
    """

    def __init__(self, device: Device) -> None:
        """No memory yet."""
        self.device = device
        self.reserved = 0
        """Bytes taken from the device."""
        self.read = 0
        """Bytes that have been copied to the host."""
        self._free: dict[int, deque[int]] = defaultdict(deque)
        self._lock = threading.Lock()

    def __del__(self) -> None:
        for size, addresses in self._free.items():
            for address in addresses:
                self.device.release(address, size)

    def empty(self, shape: Sequence[int], dtype: DTypeLike = np.float32) -> DeviceArray:
        """A new array of whatever content; raises DeviceMemoryError."""
        kind = np.dtype(dtype)
        block = self._block(math.prod(shape) * kind.itemsize)
        return DeviceArray(self, block, block.address, tuple(shape), kind)

    def array(self, values: NDArray[Any]) -> DeviceArray:
        """A copy of `values`; raises DeviceMemoryError."""
        made = self.empty(values.shape, values.dtype)
        made.write(values)
        return made

    def _block(self, size: int) -> _Block:
        # Powers of two: few sizes, each of which is used again.
        size = max(_SMALLEST, 1 << (size - 1).bit_length())
        try:
            address = self._free[size].popleft()
        except IndexError:
            with self._lock:
                address = self.device.reserve(size)
                self.reserved += size
        return _Block(self, size, address)


class _Block:
    """Memory of a pool, for as long as somebody holds this."""

    def __init__(self, pool: Pool, size: int, address: int) -> None:
        self.address = address
        self._pool = pool
        self._size = size

    def __del__(self) -> None:
        self._pool._free[self._size].append(self.address)


class DeviceArray:
    """An array in a device's memory, C-contiguous. numpy takes it for an array, at the cost of a copy to the host."""

    def __init__(
        self,
        pool: Pool,
        owner: object,
        address: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        *,
        stretch: object = None,
    ) -> None:
        """At `address`, which is its own for as long as `owner` lives.

        `stretch` is what was reserved at once, of which this is a part; by default `owner`.
        """
        self.pool = pool
        self.stretch = owner if stretch is None else stretch
        self.address = address
        self.shape = shape
        self.dtype = dtype
        self._owner = owner

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return self.size * self.dtype.itemsize

    def __getitem__(self, index: int) -> DeviceArray:
        """The part at `index` of the first axis: the same memory."""
        return self.part(range(len(self))[index], 1).reshape(*self.shape[1:])

    def part(self, start: int, count: int) -> DeviceArray:
        """`count` parts of the first axis from `start` on: the same memory."""
        if not 0 <= start <= start + count <= len(self):
            raise IndexError(f"{start} to {start + count} of {len(self)}")
        row = self.nbytes // len(self)
        return self._view(self.address + start * row, (count, *self.shape[1:]))

    def reshape(self, *shape: int) -> DeviceArray:
        """The same memory in another shape; ValueError for one of another size."""
        if math.prod(shape) != self.size:
            raise ValueError(f"{list(self.shape)} as {list(shape)}")
        return self._view(self.address, shape)

    def _view(self, address: int, shape: tuple[int, ...]) -> DeviceArray:
        return DeviceArray(self.pool, self._owner, address, shape, self.dtype, stretch=self.stretch)

    def like(self) -> DeviceArray:
        """A new array of the same shape and type, of whatever content; raises DeviceMemoryError."""
        return self.pool.empty(self.shape, self.dtype)

    def copy(self) -> DeviceArray:
        """A copy in memory of its own; raises DeviceMemoryError."""
        made = self.like()
        made.copy_from(self)
        return made

    def write(self, values: NDArray[Any]) -> None:
        """Take over `values` from the host; ValueError for another shape."""
        if values.shape != self.shape:
            raise ValueError(f"{list(values.shape)} into {list(self.shape)}")
        self.pool.device.write(self.address, np.ascontiguousarray(values, dtype=self.dtype))

    def copy_from(self, other: DeviceArray) -> None:
        """Take over the content of an array of the same size and type on the same device."""
        if (self.size, self.dtype) != (other.size, other.dtype):
            raise ValueError(f"{other.dtype} {list(other.shape)} into {self.dtype} {list(self.shape)}")
        self.pool.device.copy(self.address, other.address, self.nbytes)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("an array on a device is read by copying it")
        values = np.empty(self.shape, self.dtype)
        self.pool.device.read(self.address, values)
        self.pool.read += values.nbytes
        return values if dtype is None else values.astype(dtype, copy=False)


def in_place(arrays: Sequence[DeviceArray]) -> DeviceArray | None:
    """n arrays of one shape as one, [n, ...], in the same memory.

    None where they do not lie one after another, or begin where no graph may be given an array. Across two stretches
    that were reserved one by one CUDA copies nothing, though one may follow the other.
    """
    first = arrays[0]
    if first.address % _ALIGNED:
        return None
    for index, each in enumerate(arrays):
        if each.stretch is not first.stretch or each.address != first.address + index * first.nbytes:
            return None
    owners = tuple(each._owner for each in arrays)
    shape = (len(arrays), *first.shape)
    return DeviceArray(first.pool, owners, first.address, shape, first.dtype, stretch=first.stretch)


def gathered(arrays: Sequence[DeviceArray], pool: Pool) -> DeviceArray:
    """n arrays of one shape as one, [n, ...]: in the same memory where that can be, else a copy in `pool`."""
    made = in_place(arrays)
    if made is None:
        made = pool.empty((len(arrays), *arrays[0].shape), arrays[0].dtype)
        for index, each in enumerate(arrays):
            made[index].copy_from(each)
    return made


Values = NDArray[Any] | DeviceArray
"""On the host or on a device."""
Array = NDArray[np.float32] | DeviceArray
"""Numbers on the host or on a device."""
Picture = NDArray[np.uint8] | DeviceArray
"""[H, W, 3] BGR, uint8, on the host or on a device."""
