"""What the CNN makes of frames, in a device's memory: its outputs go where the window will find them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from whycam.cuda.array import DeviceArray, Pool, in_place

Slot = dict[str, DeviceArray]
"""The arrays of a slot, by the names of the graph's outputs."""


class Slots:
    """A ring of slots in one stretch of memory: those that are taken one after another lie one after another.

    A slot is free again once the last array in it is gone: as with the host's arrays, who still explains a window keeps
    it, and the stream goes on. Where none is free, the ring grows by as many as it began with.
    """

    def __init__(self, pool: Pool, shapes: Mapping[str, Sequence[int]], count: int) -> None:
        """`count` slots, each with f32 arrays of these `shapes`; raises DeviceMemoryError."""
        self.pool = pool
        self._shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self._count = count
        self._free: deque[Slot] = deque()
        self._lock = threading.Lock()
        self._grow()

    def filled(self, count: int, fill: Callable[[Slot], object]) -> list[Slot]:
        """So many free slots, filled all at once by `fill`, which is given their arrays as one, [count, ...].

        Raises DeviceMemoryError, and what `fill` raises.
        """
        slots = [self._take() for _ in range(count)]
        joined: Slot = {}
        for name, shape in self._shapes.items():
            there = in_place([slot[name] for slot in slots])
            joined[name] = self.pool.empty((count, *shape)) if there is None else there
        fill(joined)
        for name, batch in joined.items():
            for index, slot in enumerate(slots):
                if slot[name].address != batch[index].address:
                    slot[name].copy_from(batch[index])
        return slots

    def _take(self) -> Slot:
        with self._lock:
            if not self._free:
                self._grow()
            slot = self._free.popleft()
        lease = _Lease(slot, self._free)
        return {
            name: DeviceArray(self.pool, lease, each.address, each.shape, each.dtype, stretch=each.stretch)
            for name, each in slot.items()
        }

    def _grow(self) -> None:
        rings = {name: self.pool.empty((self._count, *shape)) for name, shape in self._shapes.items()}
        self._free.extend({name: ring[index] for name, ring in rings.items()} for index in range(self._count))


class _Lease:
    """Holds a slot, and gives it back."""

    def __init__(self, slot: Slot, free: deque[Slot]) -> None:
        self._slot = slot
        self._free = free

    def __del__(self) -> None:
        self._free.append(self._slot)
