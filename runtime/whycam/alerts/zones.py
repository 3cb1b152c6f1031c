"""Zones: which parts of the picture are watched, and which nobody is to see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whycam.config.models import Zone
from whycam.libraries import OPENCV, needs

FILL = (104, 117, 124)
"""BGR: ImageNet's mean, which most backbones subtract, so that a filled part says nothing."""

Image = NDArray[np.uint8]


class Watch:
    """What of a camera's pictures the model sees, and what people see.

    With zones to watch, the model sees these alone; zones to mask are covered for the model and for people. A part that
    is both is masked.
    """

    def __init__(self, zones: Sequence[Zone]) -> None:
        """The zones' polygons are in shares of the picture's width and height."""
        self._watched = [zone for zone in zones if zone.kind == "watch"]
        self._masked = [zone for zone in zones if zone.kind == "mask"]
        self._hidden: dict[tuple[int, int, bool], NDArray[np.bool_]] = {}

    @property
    def covers(self) -> bool:
        """Whether the model sees less than the whole picture."""
        return bool(self._masked or self._watched)

    def apply(self, image: Image) -> Image:
        """`image` as the model may see it, uint8 [H, W, 3]; the same array where there are no zones."""
        return self._filled(image, for_people=False)

    def shown(self, image: Image) -> Image:
        """`image` as people may see it: what is masked is covered, what is merely not watched is not."""
        return self._filled(image, for_people=True)

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """What the model sees of a picture of this size, bool [height, width]."""
        return ~self._hidden_in(height, width, for_people=False)

    def names(self, box: tuple[float, float, float, float]) -> list[str]:
        """The watched zones that a box touches; its left, top, right and bottom are shares of the picture."""
        if not self._watched:
            return []
        cells = 256
        left, top = int(box[0] * cells), int(box[1] * cells)
        right, bottom = max(left + 1, round(box[2] * cells)), max(top + 1, round(box[3] * cells))
        return [
            zone.name for zone in self._watched if _filled_polygons([zone], cells, cells)[top:bottom, left:right].any()
        ]

    def _filled(self, image: Image, *, for_people: bool) -> Image:
        if not (self._masked or (self._watched and not for_people)):
            return image
        hidden = self._hidden_in(image.shape[0], image.shape[1], for_people=for_people)
        filled: Image = image.copy()
        filled[hidden] = FILL
        return filled

    def _hidden_in(self, height: int, width: int, *, for_people: bool) -> NDArray[np.bool_]:
        key = (height, width, for_people)
        known = self._hidden.get(key)
        if known is None:
            # A camera has one size, or two while it is being changed.
            if len(self._hidden) > 8:
                self._hidden.clear()
            known = _filled_polygons(self._masked, height, width)
            if self._watched and not for_people:
                known |= ~_filled_polygons(self._watched, height, width)
            self._hidden[key] = known
        return known


def _filled_polygons(zones: Sequence[Zone], height: int, width: int) -> NDArray[np.bool_]:
    with needs(OPENCV):
        import cv2
    inside = np.zeros((height, width), dtype=np.uint8)
    for zone in zones:
        corners = np.array([(x * (width - 1), y * (height - 1)) for x, y in zone.polygon])
        cv2.fillPoly(inside, [np.round(corners).astype(np.int32)], 1)
    result: NDArray[np.bool_] = inside.astype(bool)
    return result
