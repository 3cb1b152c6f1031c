"""Drawing a person: clothes, build, limbs, and what the hand holds."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from whycam_export.demo.pose import GUN, HEAD, Joints, Point

Colour = tuple[float, float, float]

# Scenes are drawn at twice their size and with 3 fractional bits, lest slow movements jump from pixel to pixel.
OVERSAMPLING = 2
FRACTION_BITS = 3

_SKIN = ((150, 180, 225), (120, 160, 210), (85, 120, 170), (60, 85, 130), (45, 65, 100))
_HAIR = ((25, 25, 30), (40, 55, 80), (70, 110, 150), (110, 110, 115))


@dataclass(frozen=True)
class Person:
    """How somebody looks: BGR colours, and the width of the body in body heights."""

    shirt: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    build: float


def random_person(rng: np.random.Generator) -> Person:
    """Somebody in clothes of any colour, red, orange and yellow among them."""
    hue = int(rng.integers(0, 180))
    saturation, value = int(rng.integers(20, 230)), int(rng.integers(40, 235))
    shirt = cv2.cvtColor(np.array([[[hue, saturation, value]]], np.uint8), cv2.COLOR_HSV2BGR)[0, 0]
    grey = rng.uniform(25, 130)
    trousers = np.clip(grey + rng.normal(0, 14, 3) + np.array([12, 0, -6]), 10, 190)
    skin = _SKIN[int(rng.integers(len(_SKIN)))]
    hair = _HAIR[int(rng.integers(len(_HAIR)))]
    return Person(_colour(shirt), _colour(trousers), skin, hair, float(rng.uniform(0.85, 1.2)))


def draw_person(
    canvas: NDArray[np.uint8], mask: NDArray[np.uint8] | None, person: Person, at: Joints, height: float, gun: bool
) -> None:
    """Draw `person` onto the oversampled canvas uint8 [h,w,3], and its outline into `mask` uint8 [h,w] where given."""
    far, near = 0.72, 1.0
    w = height * person.build
    arm, leg, body = 0.058 * w, 0.078 * w, 0.15 * w
    _limb(canvas, mask, at.far_leg, leg, _shade(person.trousers, far))
    _shoe(canvas, mask, at.far_leg, leg)
    _limb(canvas, mask, at.far_arm, arm, _shade(person.shirt, far))
    _dot(canvas, mask, at.far_arm[2], arm * 0.55, _shade(person.skin, far))
    _limb(canvas, mask, at.near_leg, leg * 1.08, _shade(person.trousers, near))
    _shoe(canvas, mask, at.near_leg, leg)
    waist = at.pelvis + 0.3 * (at.neck - at.pelvis)
    _line(canvas, mask, at.pelvis, waist, body * 0.86, person.trousers)
    _line(canvas, mask, waist, at.neck + 0.12 * (at.pelvis - at.neck), body, person.shirt)
    _line(canvas, mask, at.neck, at.head, 0.06 * w, _shade(person.skin, 0.85))
    crown = at.head - (at.neck - at.head) * 0.16
    _dot(canvas, mask, crown, HEAD * height * 0.98, person.hair)
    _dot(canvas, mask, at.head + 0.12 * (at.neck - at.head), HEAD * height * 0.86, person.skin)
    _limb(canvas, mask, at.near_arm, arm * 1.08, _shade(person.shirt, 1.1))
    _dot(canvas, mask, at.near_arm[2], arm * 0.62, person.skin)
    if gun:
        _line(canvas, mask, at.near_arm[2], muzzle(at, height), 0.04 * height, (22, 20, 20))


def draw_shadow(canvas: NDArray[np.uint8], x: float, y: float, height: float) -> None:
    """Darken the ground under somebody's feet."""
    half = np.array([0.2, 0.045]) * height * OVERSAMPLING
    centre = np.array([x, y]) * OVERSAMPLING
    low = np.maximum((centre - half - 1).astype(int), 0)
    high = np.minimum((centre + half + 2).astype(int), canvas.shape[1::-1])
    if (high <= low).any():
        return
    ys, xs = np.mgrid[low[1] : high[1], low[0] : high[0]]
    away = ((xs - centre[0]) / half[0]) ** 2 + ((ys - centre[1]) / half[1]) ** 2
    factor = (1 - 0.42 * np.clip(1 - away, 0, 1)).astype(np.float32)
    patch = canvas[low[1] : high[1], low[0] : high[0]]
    patch[:] = (patch * factor[..., None]).astype(np.uint8)


def muzzle(at: Joints, height: float) -> Point:
    """The gun's mouth, in the direction of the near forearm."""
    forearm = at.near_arm[2] - at.near_arm[1]
    return at.near_arm[2] + GUN * height * forearm / max(float(np.hypot(*forearm)), 1e-6)


def fixed(point: Point) -> tuple[int, int]:
    """A point of the scene as OpenCV's fixed-point coordinates on the oversampled canvas."""
    scaled = np.rint(np.asarray(point) * OVERSAMPLING * (1 << FRACTION_BITS)).astype(int)
    return int(scaled[0]), int(scaled[1])


def _limb(
    canvas: NDArray[np.uint8], mask: NDArray[np.uint8] | None, limb: tuple[Point, Point, Point], width: float, c: Colour
) -> None:
    _line(canvas, mask, limb[0], limb[1], width * 1.1, c)
    _line(canvas, mask, limb[1], limb[2], width * 0.9, c)


def _shoe(
    canvas: NDArray[np.uint8], mask: NDArray[np.uint8] | None, leg: tuple[Point, Point, Point], width: float
) -> None:
    _dot(canvas, mask, leg[2], width * 0.6, (30, 28, 28))


def _line(
    canvas: NDArray[np.uint8], mask: NDArray[np.uint8] | None, a: Point, b: Point, width: float, c: Colour
) -> None:
    thickness = max(1, round(width * OVERSAMPLING))
    cv2.line(canvas, fixed(a), fixed(b), c, thickness, cv2.LINE_AA, FRACTION_BITS)
    if mask is not None:
        cv2.line(mask, fixed(a), fixed(b), 255, thickness, cv2.LINE_8, FRACTION_BITS)


def _dot(canvas: NDArray[np.uint8], mask: NDArray[np.uint8] | None, centre: Point, radius: float, c: Colour) -> None:
    size = max(1, round(radius * OVERSAMPLING * (1 << FRACTION_BITS)))
    cv2.circle(canvas, fixed(centre), size, c, -1, cv2.LINE_AA, FRACTION_BITS)
    if mask is not None:
        cv2.circle(mask, fixed(centre), size, 255, -1, cv2.LINE_8, FRACTION_BITS)


def _shade(colour: Colour, factor: float) -> Colour:
    return _colour(np.clip(np.array(colour) * factor, 0, 255))


def _colour(values: NDArray[np.floating] | NDArray[np.uint8]) -> Colour:
    return float(values[0]), float(values[1]), float(values[2])
