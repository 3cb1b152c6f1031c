"""A baseline by hand for the bundle of colours, which says that plain blue is usual."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from whycam.bundle import Bundle, revise
from whycam.drift import SIGNS, Baseline

BLUE = np.full((8, 8, 3), (255, 0, 0), np.uint8)
SECONDS = 0.4


def baseline(**changes: object) -> Baseline:
    """Blocks of 0.4 s, two in a row, limits of 6 spreads."""
    values: dict[str, object] = {
        "seconds": SECONDS,
        "consecutive": 2,
        "precision": "fp32",
        "mean": np.array([math.log2(0.114 * 255 + 1), 0, 0, 0, 0, -9.375]),
        "spread": np.array([0.1, 0.1, 0.1, 0.1, 0.1, 1.0]),
        "limit": np.full(len(SIGNS), 6.0),
        "edges_mean": np.ones(49, np.float32),
        "edges_spread": np.full(49, 0.2, np.float32),
        "features_mean": np.array([1, 0, 0], np.float32),
        "features_spread": np.full(3, 0.2, np.float32),
    }
    return Baseline(**{**values, **changes})  # type: ignore[arg-type]  # the test's own values


def store(bundle: Path, made: Baseline) -> None:
    """Put `made` into the bundle at `bundle`."""
    revise(Bundle.open(bundle), {"drift.npz": made.encode()}, drift="drift.npz")
