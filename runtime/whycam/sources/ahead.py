"""What is read ahead, in a thread of its own: decoding goes on while a network runs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Ahead(Generic[Item]):
    """An iterator over `items`, which a thread of its own takes from them, at most so many ahead.

    To be used in a `with` statement, at whose end the thread has ended and `items` is closed. What `items` raises is
    raised here, in its place.
    """

    def __init__(self, items: Iterable[Item], most: int) -> None:
        """Begin to take from `items`, until `most` wait."""
        self._items = items
        self._most = most
        self._waiting: deque[Item] = deque()
        self._ended = self._stopping = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="read ahead", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many can be taken without waiting."""
        return len(self._waiting)

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            if self._waiting:
                self._changed.notify_all()
                return self._waiting.popleft()
            error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def __enter__(self) -> Ahead[Item]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, reason: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopping = True
            self._waiting.clear()
            self._changed.notify_all()
        self._thread.join()

    def _read(self) -> None:
        try:
            items = iter(self._items)
            try:
                for item in items:
                    with self._changed:
                        self._changed.wait_for(lambda: len(self._waiting) < self._most or self._stopping)
                        if self._stopping:
                            return
                        self._waiting.append(item)
                        self._changed.notify_all()
            finally:
                # A generator is to be closed by the thread that runs it.
                close = getattr(items, "close", None)
                if close is not None:
                    close()
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
