"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Hears what is done, how many steps of it, and of how many."""


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""
