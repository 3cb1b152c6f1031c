"""Clips that the tiny bundle understands: dark, until a bright red square, a fire, stands in one quarter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

SIDE, FPS = 32, 10.0
QUARTERS = (
    (slice(0, 16), slice(0, 16)),
    (slice(0, 16), slice(16, 32)),
    (slice(16, 32), slice(0, 16)),
    (slice(16, 32), slice(16, 32)),
)
CALM, RED, GREEN = (60, 10, 10), (0, 0, 255), (0, 255, 0)


@dataclass(frozen=True)
class Scene:
    """A clip of `frames` frames; from frame `onset` on the square stands in `quarter`."""

    name: str
    label: str = "fire"
    colour: tuple[int, int, int] = RED
    quarter: int = 1
    onset: int = 12
    frames: int = 24

    def pictures(self) -> np.ndarray:
        found = np.full((self.frames, SIDE, SIDE, 3), CALM, np.uint8)
        found[(slice(self.onset, None), *QUARTERS[self.quarter])] = self.colour
        return found

    def masks(self) -> np.ndarray:
        found = np.zeros((self.frames, SIDE, SIDE), np.bool_)
        found[(slice(self.onset, None), *QUARTERS[self.quarter])] = True
        return found


def write(folder: Path, *scenes: Scene, truth: bool = True) -> Path:
    """Write the scenes' clips, a folder per class, with or without the truth beside them."""
    for scene in scenes:
        path = folder / scene.label / f"{scene.name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (SIDE, SIDE))
        for picture in scene.pictures():
            writer.write(picture)
        writer.release()
        if truth:
            write_truth(path, scene)
    return folder


def write_truth(clip: Path, scene: Scene) -> None:
    masks = scene.masks()
    np.savez_compressed(
        clip.with_suffix(".truth.npz"),
        label=scene.label,
        place="a dark room",
        t0=scene.onset / FPS,
        t1=scene.frames / FPS,
        times=np.arange(scene.frames) / FPS,
        shape=masks.shape,
        masks=np.packbits(masks, axis=-1),
    )
