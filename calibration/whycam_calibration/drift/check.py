"""Whether the limits hold on footage that they were not made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whycam.drift import Block
from whycam_calibration.drift.fit import fit
from whycam_calibration.drift.gather import LEAST_BLOCKS, Footage

_SHARE = 2 / 3


@dataclass(frozen=True)
class Held:
    """How the newer part of the footage looks to a baseline of the older part."""

    older: int
    """Blocks that the baseline was made from."""
    blocks: int
    """Blocks held back."""
    beyond: int
    """Those of them beyond a limit."""
    longest: int
    """Most of those in a row."""
    largest: float
    """The largest deviation, over its limit."""


def hold_back(footage: Footage, precision: str) -> Held | None:
    """Two thirds of the blocks of `footage` make a baseline, the rest is held against it; None with too few blocks."""
    count = len(footage.blocks)
    older = round(_SHARE * count)
    if older < LEAST_BLOCKS:
        return None
    first: list[list[Block]] = []
    rest: list[Block] = []
    for run in footage.runs:
        room = max(0, older - sum(map(len, first)))
        first += [run[:room]] if room else []
        rest += run[room:]
    baseline = fit(first, footage.seconds, precision).baseline
    signs = np.stack([baseline.signs(block) for block in rest])
    shares = (abs(baseline.deviations(signs)) / baseline.limit).max(axis=1)
    longest = row = 0
    for share in shares:
        row = row + 1 if share > 1 else 0
        longest = max(longest, row)
    return Held(older, len(rest), int((shares > 1).sum()), longest, float(shares.max()))
