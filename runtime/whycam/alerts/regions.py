"""Where a heat map is strongest, as boxes in the frame."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

_FLOOR = 0.5
"""A region holds the cells that reach this share of the map's maximum."""


class Region(BaseModel):
    """A box around one of a heat map's strongest regions, in pixels of the frame."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    x: int = Field(ge=0, description="Pixels from the left.")
    y: int = Field(ge=0, description="Pixels from the top.")
    width: int = Field(ge=1, description="Pixels.")
    height: int = Field(ge=1, description="Pixels.")
    share: float = Field(ge=0, le=1, description="The region's share of all that the heat map holds.")
    zones: list[str] = Field(default_factory=list, description="The watched zones that it touches.")


def strongest_regions(heatmap: NDArray[np.float32], width: int, height: int, count: int = 3) -> list[Region]:
    """The strongest connected regions of `heatmap` [h, w], at most `count`, strongest first; none of an empty map.

    Cells that touch by an edge or a corner are one region. The boxes are in pixels of a frame of `width` x `height`.
    """
    peak = float(heatmap.max(initial=0))
    total = float(heatmap.sum())
    if not (peak > 0 and math.isfinite(total)):
        return []
    rows, columns = heatmap.shape
    left = {(int(row), int(column)) for row, column in np.argwhere(heatmap >= _FLOOR * peak)}
    found: list[Region] = []
    while left:
        group = _connected(left)
        top, bottom = min(row for row, _ in group), max(row for row, _ in group) + 1
        first, last = min(column for _, column in group), max(column for _, column in group) + 1
        x, y = first * width // columns, top * height // rows
        found.append(
            Region(
                x=x,
                y=y,
                width=max(1, math.ceil(last * width / columns) - x),
                height=max(1, math.ceil(bottom * height / rows) - y),
                share=min(1.0, round(float(sum(heatmap[cell] for cell in group)) / total, 4)),
            )
        )
    return sorted(found, key=lambda region: -region.share)[:count]


def _connected(left: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Take one connected group out of `left`."""
    group, open_ends = [], [left.pop()]
    while open_ends:
        row, column = open_ends.pop()
        group.append((row, column))
        for other in [(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]:
            if other in left:
                left.discard(other)
                open_ends.append(other)
    return group
