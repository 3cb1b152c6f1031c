"""Where a heat map is strongest, as boxes and contours in the frame."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from whycam.libraries import OPENCV, needs

_FINE = 8
"""Points along a cell's side that a contour is followed on."""
_MOST_POINTS = 32
_FLOOR = 0.5
"""A region holds the cells that reach this share of the map's maximum."""


class Region(BaseModel):
    """One of a heat map's strongest regions: a box around it and its contour, in pixels of the frame."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    x: int = Field(ge=0, description="Pixels from the left.")
    y: int = Field(ge=0, description="Pixels from the top.")
    width: int = Field(ge=1, description="Pixels.")
    height: int = Field(ge=1, description="Pixels.")
    contour: list[tuple[int, int]] = Field(
        default_factory=list, description="The region's outline, x and y of at most 32 points."
    )
    share: float = Field(ge=0, le=1, description="The region's share of all that the heat map holds.")
    zones: list[str] = Field(default_factory=list, description="The watched zones that it touches.")


def strongest_regions(heatmap: NDArray[np.float32], width: int, height: int, count: int = 3) -> list[Region]:
    """The strongest connected regions of `heatmap` [h, w], at most `count`, strongest first; none of an empty map.

    Cells that touch by an edge or a corner are one region. Boxes and contours are in pixels of a frame of `width` x
    `height`; a box holds whole cells, a contour follows the map as it is drawn over the frame.
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
                contour=_contour(heatmap, group, width, height),
                share=min(1.0, round(float(sum(heatmap[cell] for cell in group)) / total, 4)),
            )
        )
    return sorted(found, key=lambda region: -region.share)[:count]


def _contour(
    heatmap: NDArray[np.float32], group: list[tuple[int, int]], width: int, height: int
) -> list[tuple[int, int]]:
    """The outline of the cells `group` where the map, interpolated to the frame, reaches the floor."""
    with needs(OPENCV):
        import cv2
    rows, columns = heatmap.shape
    own = np.zeros(heatmap.shape, np.float32)
    for row, column in group:
        own[row, column] = heatmap[row, column] / float(heatmap.max())
    # Fine enough to follow, whatever the frame's size.
    size = (min(width, _FINE * columns), min(height, _FINE * rows))
    fine = cv2.resize(own, size, interpolation=cv2.INTER_LINEAR)
    # Between its neighbours' noughts a single cell may stay below the floor.
    level = min(_FLOOR, 0.9 * float(fine.max()))
    lines, _ = cv2.findContours((fine >= level).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outline = max(lines, key=cv2.contourArea)
    tolerance = 0.5
    while len(outline) > _MOST_POINTS:
        outline = cv2.approxPolyDP(outline, tolerance, closed=True)
        tolerance *= 1.5
    return [(int((x + 0.5) * width / size[0]), int((y + 0.5) * height / size[1])) for x, y in outline[:, 0]]


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
