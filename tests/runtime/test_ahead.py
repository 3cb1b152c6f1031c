"""Reading ahead: the same items, in a thread that ends when nobody wants more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from whycam.sources.ahead import Ahead


class Items:
    """Numbers; counts how many were taken, and whether it was closed."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.taken = 0
        self.closed_by: str | None = None
        self.items = self._items(count, error)

    def _items(self, count: int, error: Exception | None) -> Iterator[int]:
        try:
            for number in range(count):
                self.taken += 1
                yield number
            if error is not None:
                raise error
        finally:
            self.closed_by = threading.current_thread().name


def test_all_items_come_in_order() -> None:
    with Ahead(range(1000), 5) as ahead:
        assert list(ahead) == list(range(1000))
        assert list(ahead) == []


def test_no_more_are_read_than_so_many_ahead() -> None:
    source = Items(1000)
    with Ahead(source.items, 5) as ahead:
        assert next(ahead) == 0
        while ahead.waiting < 5:
            time.sleep(0.001)
        time.sleep(0.05)
        # One was taken, five wait, and one is at hand for the next place.
        assert source.taken == 7


def test_an_error_comes_after_the_items_before_it() -> None:
    with Ahead(Items(3, ValueError("torn film")).items, 2) as ahead:
        assert [next(ahead) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="torn film"):
            next(ahead)
        assert list(ahead) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_thread_ends_and_closes_the_items_when_nobody_wants_more(error: type[BaseException]) -> None:
    source = Items(1_000_000)
    with pytest.raises(error), Ahead(source.items, 3) as ahead:
        next(ahead)
        raise error
    assert source.closed_by == "read ahead"
    assert not any(thread.name == "read ahead" for thread in threading.enumerate())
