"""The search of `auto`, the cache that lets it go on, and the speed of one precision beside another."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whycam_calibration.errors import CalibrationError
from whycam_calibration.precision.cache import Cache
from whycam_calibration.precision.search import search


@given(st.integers(1, 60), st.integers(0, 60))
def test_the_fewest_layers_that_the_gate_holds_with_are_found(count: int, needed: int) -> None:
    order = [f"layer{index}" for index in range(count)]
    tried = []

    def holds(higher: frozenset[str]) -> bool:
        tried.append(higher)
        return len(higher) >= needed

    found = search(order, holds)

    most = max(1, count // 2)
    assert found == (frozenset(order[:needed]) if needed <= most else None)
    assert len(tried) == len(set(tried)) <= 2 * int(np.log2(count) + 2)


def test_what_was_computed_is_not_computed_again(tmp_path: Path) -> None:
    first, again = Cache(tmp_path, {"model": "a"}), Cache(tmp_path, {"model": "a"})
    first.values("ranges", lambda: {"x": [0.1, 2.5]})
    first.arrays("seen", lambda: {"scores": np.eye(2, dtype=np.float32)})

    def never() -> None:
        raise AssertionError("it is there")

    assert again.values("ranges", never) == {"x": [0.1, 2.5]}
    assert (again.arrays("seen", never)["scores"] == np.eye(2)).all()


def test_what_depends_on_other_things_is_computed_anew(tmp_path: Path) -> None:
    Cache(tmp_path, {"model": "a"}).values("ranges", lambda: 1)

    assert Cache(tmp_path, {"model": "b"}).values("ranges", lambda: 2) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"PK\x03\x04 half an archive"])
def test_a_damaged_entry_counts_as_absent(tmp_path: Path, damage: bytes) -> None:
    cache = Cache(tmp_path, {})
    cache.values("ranges", lambda: 1)
    cache.arrays("seen", lambda: {"scores": np.zeros(1)})
    for name in ("ranges.json", "seen.npz"):
        (cache.folder / name).write_bytes(damage)

    assert cache.values("ranges", lambda: 2) == 2
    assert cache.arrays("seen", lambda: {"scores": np.ones(1)})["scores"] == [1]
    assert json.loads((cache.folder / "ranges.json").read_text()) == 2
    assert not list(cache.folder.glob(".*"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(CalibrationError, match=r"cannot be written .*name another folder with --cache"):
        Cache(tmp_path / "file", {})
