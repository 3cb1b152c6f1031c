"""Scenes as a surveillance camera sees them, with the truth of what happens when and where.

A scene is drawn from a seed: a place, a camera, people, harmless things that move, and in an anomalous scene one event.
Every frame can be drawn on its own, so a trainer may take single frames out of thousands of scenes.

What counts as the anomaly, in every frame: of a fight both fighters; of a fire the flames; of a shooting the gunman
with gun and flash, and whoever was hit. The outline is grown by `MARGIN` pixels, as a person marks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from whycam_export.demo.backdrop import Backdrop, make_backdrop
from whycam_export.demo.events import CLASSES, NORMAL, stage
from whycam_export.demo.figure import OVERSAMPLING
from whycam_export.demo.lens import Lens, random_lens

__all__ = ["CLASSES", "HEIGHT", "NORMAL", "WIDTH", "Clip", "Scene", "make_scene", "render"]

WIDTH, HEIGHT = 224, 168
MARGIN = 3


class _Thing(Protocol):
    @property
    def y(self) -> float: ...

    def draw(self, canvas: NDArray[np.uint8], mask: NDArray[np.uint8], time: float) -> None: ...


@dataclass(frozen=True)
class Scene:
    """One scene: what happens in it and how it is filmed; `onset` is where the anomaly begins, in seconds."""

    seed: int
    label: str
    duration: float
    onset: float
    backdrop: Backdrop
    lens: Lens
    things: Sequence[_Thing]

    def frame(self, time: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The frame uint8 [HEIGHT,WIDTH,3] BGR at `time` seconds, and the mask bool [HEIGHT,WIDTH] of the anomaly."""
        canvas = self.backdrop.picture.copy()
        mask = np.zeros(canvas.shape[:2], np.uint8)
        for thing in self.things:
            thing.draw(canvas, mask, time)
        if not self.anomalous(time):
            return self.lens.expose(canvas, time), np.zeros((HEIGHT, WIDTH), np.bool_)
        where = cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        size = 2 * MARGIN + 1
        where = cv2.dilate(where, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
        return self.lens.expose(canvas, time), where > 96

    def anomalous(self, time: float) -> bool:
        """Whether the anomaly is going on at `time`."""
        return self.label != NORMAL and time >= self.onset


@dataclass(frozen=True)
class Clip:
    """A scene filmed from `begin` to `end`: frames uint8 [n,h,w,3] BGR, masks bool [n,h,w], times f64 [n] from 0.

    The anomaly lasts from t0 to t1 seconds of the clip; both are 0 where there is none.
    """

    scene: Scene
    label: str
    frames: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    times: NDArray[np.float64]
    fps: float
    t0: float
    t1: float


def make_scene(seed: int, label: str, duration: float = 7.0, onset: float = 3.0) -> Scene:
    """The scene of `seed` in which `label` (one of `CLASSES`) happens from `onset` on, always the same."""
    if label not in CLASSES:
        raise ValueError(f"label '{label}' is none of {', '.join(CLASSES)}")
    rng = np.random.default_rng((seed, CLASSES.index(label)))
    backdrop = make_backdrop(rng, WIDTH, HEIGHT, OVERSAMPLING)
    lens = random_lens(rng, indoors=backdrop.place == "corridor")
    things = stage(rng, label, backdrop, WIDTH, HEIGHT, duration, onset)
    ordered = sorted(things, key=lambda thing: thing.y)
    return Scene(seed, label, duration, onset, backdrop, lens, ordered)


def render(scene: Scene, fps: float, begin: float = 0.0, end: float | None = None) -> Clip:
    """Film `scene` from `begin` to `end` seconds (its whole duration by default) at `fps` frames a second.

    The clip's label is the scene's where it shows any of the anomaly, else normal.
    """
    end = scene.duration if end is None else end
    times = np.arange(0, end - begin - 1e-9, 1 / fps)
    shots = [scene.frame(begin + float(time)) for time in times]
    shown = scene.label != NORMAL and scene.onset < end
    return Clip(
        scene,
        scene.label if shown else NORMAL,
        np.stack([frame for frame, _ in shots]),
        np.stack([mask for _, mask in shots]),
        times,
        fps,
        max(0.0, scene.onset - begin) if shown else 0.0,
        end - begin if shown else 0.0,
    )
