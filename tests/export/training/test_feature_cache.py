from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from whycam_export.errors import TrainingError
from whycam_export.training.feature_cache import FeatureCache, Features, default_cache

KEY = "ab" * 32


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache")


def features(padded: bool = False, windows: int = 2) -> Features:
    return Features(np.random.default_rng(0).random((windows, 5, 3, 3, 8), dtype=np.float32), padded)


@pytest.mark.parametrize("padded", [True, False])
def test_what_is_stored_is_loaded(cache: FeatureCache, padded: bool) -> None:
    stored = features(padded)

    cache.store(KEY, stored)
    loaded = cache.load(KEY)

    assert loaded is not None
    assert (loaded.values == stored.values).all()
    assert loaded.values.dtype == np.float32
    assert loaded.padded == padded


def test_an_absent_entry_is_none(cache: FeatureCache) -> None:
    assert cache.load(KEY) is None


@pytest.mark.parametrize("damage", ["a flipped bit", "cut short", "emptied"])
def test_a_damaged_entry_counts_as_absent(cache: FeatureCache, damage: str) -> None:
    cache.store(KEY, features())
    path = cache.folder / f"{KEY}.npy"
    content = bytearray(path.read_bytes())
    if damage == "a flipped bit":
        content[len(content) // 2] ^= 1
    path.write_bytes({"a flipped bit": content, "cut short": content[:-100], "emptied": b""}[damage])

    assert cache.load(KEY) is None


def test_nothing_but_entries_is_left_behind(cache: FeatureCache) -> None:
    cache.store(KEY, features())

    assert [path.name for path in cache.folder.iterdir()] == [f"{KEY}.npy"]


def test_what_was_unused_for_longest_is_removed_first(cache: FeatureCache) -> None:
    keys = [digit * 64 for digit in "123"]
    for age, key in enumerate(keys):
        cache.store(key, features())
        os.utime(cache.folder / f"{key}.npy", (1000 + age, 1000 + age))
    cache.load(keys[0])
    size = (cache.folder / f"{keys[0]}.npy").stat().st_size

    assert cache.prune(keep=[], limit=2 * size) == 1

    assert [cache.load(key) is not None for key in keys] == [True, False, True]


def test_entries_in_use_are_never_removed(cache: FeatureCache) -> None:
    cache.store(KEY, features())

    assert cache.prune(keep=[KEY], limit=0) == 0
    assert cache.load(KEY) is not None


def test_a_cache_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(TrainingError, match="--cache"):
        FeatureCache(tmp_path / "file" / "cache")


def test_the_cache_lies_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert default_cache() == tmp_path / "whycam" / "features"
