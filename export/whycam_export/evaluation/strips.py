"""A window's frames side by side, under a method's heat, as a picture that a page carries within it."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from whycam.explain import overlay
from whycam_export.evaluation.cases import Case
from whycam_export.evaluation.network import Floats

WIDTH = 1040
"""Pixels of a strip, about."""
GAP = 3
_NARROWEST = 52
_OUTLINE = (120, 255, 60)

Picture = NDArray[np.uint8]


def strip(case: Case, heatmaps: Floats | None = None) -> str:
    """The frames of `case` under `heatmaps` [T, h, w], the mask outlined, as a `data:` address of a JPEG.

    Each frame has its own scale, because each is measured for itself; when it mattered is the relevance's to say.
    """
    frames = len(case.images)
    width = max(_NARROWEST, WIDTH // frames - GAP)
    height = round(width * case.images.shape[1] / case.images.shape[2])
    tiles = []
    for index, image in enumerate(case.images):
        tile: Picture = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        if heatmaps is not None:
            tile = overlay(tile, heatmaps[index])
        if case.masks is not None:
            tile = _outlined(tile, case.masks[index])
        tiles += [tile, np.full((height, GAP, 3), 255, np.uint8)]
    encoded = cv2.imencode(".jpg", np.concatenate(tiles[:-1], axis=1), [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def _outlined(tile: Picture, mask: NDArray[np.bool_]) -> Picture:
    small = cv2.resize(mask.astype(np.uint8), (tile.shape[1], tile.shape[0]), interpolation=cv2.INTER_AREA)
    contours, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    drawn: Picture = tile.copy()
    cv2.drawContours(drawn, contours, -1, _OUTLINE, 1)
    return drawn
