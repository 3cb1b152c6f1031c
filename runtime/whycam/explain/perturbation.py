"""Explanations by what becomes of the target where parts of the cached maps are hidden: no gradient, no whole CNN.

As in Recipro-CAM (Byun and Lee 2022), the maps of the CAM layer are hidden, not the frame's pixels, so only the CNN
above that layer runs. What is hidden becomes nought, or the camera's usual maps where those are the reference.
Heat maps f32 [n, h, w] in the target's units.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whycam.explain.cams import relu, resized
from whycam.explain.inquiry import Inquiry

Maps = NDArray[np.float32]

GRID = 14
"""Occlusion: places along an axis at most."""
MASKS = 256
"""RISE: random masks of a window."""
CELLS = 7
"""RISE: cells of a mask along an axis."""
SPELLS = 3
"""RISE: parts of the window, each with a mask of its own: masks that change at every frame say little."""
KEPT = 0.5
"""RISE: part of the cells that a mask shows."""


def occlusion(ask: Inquiry) -> Maps:
    """Occlusion (Zeiler and Fergus 2014, section 4.2) in space and time: how far the target falls without each place.

    A square of the maps is hidden in one frame at a time, so a heat map says how much that frame's place counts for the
    whole window's decision.
    """
    maps = ask.layers[0]
    resting = _resting(ask)
    boxes = _boxes(maps.shape[2], maps.shape[3])
    heat = np.zeros((len(maps), *maps.shape[2:]), np.float32)
    cover = np.zeros(maps.shape[2:], np.float32)
    for box in boxes:
        cover[box] += 1
    for index, frame in enumerate(ask.chosen):
        hidden = np.repeat(maps[index : index + 1], len(boxes), axis=0)
        for copy, box in zip(hidden, boxes, strict=True):
            copy[(slice(None), box[0], box[1])] = resting[(slice(None), box[0], box[1])]
        for drop, box in zip(ask.score - ask.scores_of_maps(frame, hidden), boxes, strict=True):
            heat[index][box] += drop
    return relu((heat / cover).astype(np.float32))


def rise(ask: Inquiry) -> Maps:
    """RISE (Petsiuk et al. 2018, eq. 6) on the maps: the mean of random masks, weighed by the target that each leaves.

    The masks' mean target is taken off first: that changes the expectation by a constant and removes most of the noise.
    The masks are the same each time.
    """
    maps = ask.layers[0]
    frames, _, height, width = maps.shape
    resting = _resting(ask)
    random = np.random.default_rng(0)
    cells = (random.random((MASKS * SPELLS, CELLS, CELLS)) < KEPT).astype(np.float32)
    spell = np.arange(frames) * SPELLS // frames
    masks = resized(cells, height, width).reshape(MASKS, SPELLS, height, width)[:, spell]
    targets = np.empty(MASKS, np.float32)
    for number, mask in enumerate(masks):
        shown = resting + mask[:, np.newaxis] * (maps - resting)
        window = ask.features.copy()
        window[list(ask.chosen)] = ask.features_of_maps(shown)
        targets[number] = ask.scores(window[np.newaxis])[0]
    weights = (targets - targets.mean()) / np.float32(MASKS * KEPT * (1 - KEPT))
    return relu(np.einsum("m,mnhw->nhw", weights, masks))


def _resting(ask: Inquiry) -> Maps:
    """What takes the place of hidden maps, [C, h, w]."""
    return np.zeros_like(ask.layers[0][0]) if ask.usual is None else np.asarray(ask.usual.maps[0])


def _boxes(height: int, width: int) -> list[tuple[slice, slice]]:
    """Squares that overlap by half, where the maps are large enough for that."""
    return [(rows, columns) for rows in _spans(height) for columns in _spans(width)]


def _spans(size: int) -> list[slice]:
    step = -(-size // GRID)
    reach = step if step == 1 else 2 * step
    return [slice(max(0, start), start + reach) for start in range(step - reach, size, step)]
