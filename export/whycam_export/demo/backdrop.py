"""The static background a camera looks at: a street, a corridor, a car park, each with walls, ground and things."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

PLACES = ("street", "corridor", "car park")


@dataclass(frozen=True)
class Backdrop:
    """A place without people: the oversampled picture, and where its ground lies (rows in pixels of the frame)."""

    place: str
    picture: NDArray[np.uint8]
    horizon: float
    ground_top: float


def make_backdrop(rng: np.random.Generator, width: int, height: int, scale: int) -> Backdrop:
    """Draw one of `PLACES` for frames of `width` x `height` pixels, `scale` times as large."""
    place = PLACES[int(rng.integers(len(PLACES)))]
    w, h = width * scale, height * scale
    ground_top = rng.uniform(0.44, 0.54)
    picture = np.zeros((h, w, 3), np.float32)
    top = int(ground_top * h)
    draw = {"street": _street, "corridor": _corridor, "car park": _car_park}[place]
    draw(picture, top, rng)
    for _ in range(int(rng.integers(1, 4))):
        _thing(picture, top, rng, indoors=place == "corridor")
    picture *= (0.9 + 0.2 * _noise(rng, h, w, 24))[..., None]
    return Backdrop(place, np.clip(picture, 0, 255).astype(np.uint8), 0.28 * height, ground_top * height)


def _street(picture: Image, top: int, rng: np.random.Generator) -> None:
    h, w = picture.shape[:2]
    wall = _tone(rng, 70, 190, 26)
    picture[:top] = wall
    if rng.random() < 0.6:
        _bricks(picture[:top], rng, wall)
    x = int(rng.integers(-20, 20))
    step = int(rng.integers(60, 110))
    glass = _tone(rng, 25, 110, 12)
    for left in range(x, w, step):
        kind = rng.random()
        if kind < 0.65:
            low, high = int(top * rng.uniform(0.12, 0.2)), int(top * rng.uniform(0.5, 0.68))
            _rectangle(picture, (left, low), (left + step // 2, high), glass * rng.uniform(0.7, 1.4), wall * 0.6)
            cv2.line(picture, (left + step // 4, low), (left + step // 4, high), (wall * 0.6).tolist(), 3)
        elif kind < 0.85:
            _rectangle(picture, (left, int(top * 0.3)), (left + step // 2, top), _tone(rng, 40, 150, 40), wall * 0.5)
        if rng.random() < 0.25:
            _rectangle(picture, (left, int(top * 0.2)), (left + step // 2, int(top * 0.32)), _tone(rng, 60, 210, 80))
    pavement = _tone(rng, 90, 170, 8)
    picture[top:] = pavement
    for offset in np.geomspace(10, h - top, 7):
        cv2.line(picture, (0, top + int(offset)), (w, top + int(offset)), (pavement * 0.86).tolist(), 2)
    centre = rng.uniform(0.2, 0.8) * w
    for spoke in np.linspace(-3, 4, 15):
        start, end = (int(centre + (spoke - 0.5) * 90), top), (int(centre + (spoke - 0.5) * 320), h)
        cv2.line(picture, start, end, (pavement * 0.88).tolist(), 2, cv2.LINE_AA)
    if rng.random() < 0.6:
        low = top + int((h - top) * rng.uniform(0.0, 0.12))
        high = low + int((h - top) * rng.uniform(0.22, 0.34))
        road = _tone(rng, 55, 95, 4)
        picture[low:high] = road
        picture[high : high + 4] = pavement * 1.15
        for dash in range(int(rng.integers(0, 60)), w, 90):
            middle = (low + high) // 2
            cv2.line(picture, (dash, middle), (dash + 40, middle), (200, 205, 205), 3)
    _grain(picture[top:], rng, 9)


def _corridor(picture: Image, top: int, rng: np.random.Generator) -> None:
    h, w = picture.shape[:2]
    wall = _tone(rng, 110, 205, 18)
    picture[:] = wall
    end = int(w * rng.uniform(0.3, 0.7))
    half = int(w * rng.uniform(0.2, 0.34))
    ceiling = int(top * rng.uniform(0.15, 0.3))
    floor = _tone(rng, 70, 150, 22)
    corners = np.array([(end - half, top), (end + half, top), (end + 3 * half, h), (end - 3 * half, h)])
    picture[: top * 2 // 3] *= 0.95
    cv2.fillPoly(
        picture, [np.array([(-w, 0), (2 * w, 0), (end + half, ceiling), (end - half, ceiling)])], (wall * 1.12).tolist()
    )
    picture[top:] = floor
    _rectangle(picture, (end - half, ceiling), (end + half, top), wall * 0.88)
    for side in (-1, 1):
        cv2.line(picture, (end + side * half, ceiling), (end + side * half, top), (wall * 0.7).tolist(), 2, cv2.LINE_AA)
        for depth in rng.uniform(1.15, 2.6, int(rng.integers(1, 4))):
            x = int(end + side * half * depth)
            width = int(26 * depth)
            lintel = int(top - (top - ceiling) * 0.72 * (0.85 + 0.1 * depth))
            _rectangle(picture, (x, max(lintel, 4)), (x + side * width, top), _tone(rng, 60, 170, 40), wall * 0.6)
    for lamp in np.linspace(0.15, 0.85, 3):
        y = int(ceiling * lamp)
        reach = int(half * (0.5 - 0.35 * lamp))
        cv2.ellipse(picture, (end, y), (reach + 8, 5), 0, 0, 360, (250, 252, 250), -1, cv2.LINE_AA)
    if rng.random() < 0.7:
        for spoke in np.linspace(-5, 5, 15):
            start, finish = (int(end + spoke * half * 0.6), top), (int(end + spoke * half * 2.0), h)
            cv2.line(picture, start, finish, (floor * 0.86).tolist(), 2, cv2.LINE_AA)
        for offset in np.geomspace(8, h - top, 8):
            cv2.line(picture, (0, top + int(offset)), (w, top + int(offset)), (floor * 0.86).tolist(), 2)
    cv2.polylines(picture, [corners], False, (wall * 0.65).tolist(), 2, cv2.LINE_AA)
    picture[top : top + 5] = wall * 0.6
    if rng.random() < 0.5:
        x = int(rng.uniform(0.1, 0.8) * w)
        _rectangle(picture, (x, int(top * 0.45)), (x + 40, int(top * 0.45) + 48), _tone(rng, 60, 220, 90), wall * 0.5)
    _grain(picture, rng, 4)


def _car_park(picture: Image, top: int, rng: np.random.Generator) -> None:
    h, w = picture.shape[:2]
    asphalt = _tone(rng, 60, 130, 5)
    indoors = rng.random() < 0.5
    picture[:top] = (
        _tone(rng, 90, 150, 8) if indoors else np.linspace(150, 225, top)[:, None, None] + _tone(rng, -8, 8, 12)
    )
    if indoors:
        picture[: int(top * 0.25)] *= 0.7
        for x in range(int(rng.integers(0, 60)), w, int(rng.integers(110, 160))):
            _rectangle(picture, (x, 0), (x + 26, top + 10), _tone(rng, 120, 180, 6))
            _rectangle(picture, (x, top - 30), (x + 26, top + 10), np.array((40, 190, 220)) * rng.uniform(0.6, 1.0))
    else:
        for x in range(0, w, 12):
            height = int(top * rng.uniform(0.15, 0.35))
            colour = np.array((45, 90, 60)) * rng.uniform(0.6, 1.2)
            cv2.circle(picture, (x, top - height // 2), height // 2 + 6, colour.tolist(), -1, cv2.LINE_AA)
    picture[top:] = asphalt
    vanish = rng.uniform(0.2, 0.8) * w
    bay = top + int((h - top) * 0.34)
    for slot in range(-6, 8):
        start = (int(vanish + (slot - 0.5) * 84), top + 6)
        end = (int(vanish + (slot - 0.5) * 120), bay)
        cv2.line(picture, start, end, (asphalt * 1.6).tolist(), 3, cv2.LINE_AA)
        if rng.random() < 0.5 and 0 < start[0] < w:
            parked_car(picture, start[0] + 42, bay - 14, 74, _tone(rng, 40, 210, 70))
    if rng.random() < 0.5:
        cv2.arrowedLine(
            picture, (int(0.3 * w), int(0.88 * h)), (int(0.6 * w), int(0.88 * h)), (asphalt * 1.5).tolist(), 5
        )
    _grain(picture, rng, 6)


def parked_car(picture: Image, x: int, y: int, length: int, colour: NDArray[np.float64]) -> None:
    """A car seen from its front, `length` pixels wide, whose wheels stand at (x, y)."""
    half, tall = length // 2, int(length * 0.34)
    _rectangle(picture, (x - half + 4, y - 5), (x - half + 14, y + 5), np.array((20, 20, 20)))
    _rectangle(picture, (x + half - 14, y - 5), (x + half - 4, y + 5), np.array((20, 20, 20)))
    roof = [
        (x - half * 0.72, y - tall),
        (x - half * 0.52, y - tall * 1.8),
        (x + half * 0.52, y - tall * 1.8),
        (x + half * 0.72, y - tall),
    ]
    cv2.fillPoly(picture, [np.array(roof).astype(int)], (colour * 0.9).tolist(), cv2.LINE_AA)
    pane = [
        (x - half * 0.6, y - tall),
        (x - half * 0.46, y - tall * 1.65),
        (x + half * 0.46, y - tall * 1.65),
        (x + half * 0.6, y - tall),
    ]
    cv2.fillPoly(picture, [np.array(pane).astype(int)], (52, 46, 40), cv2.LINE_AA)
    _rectangle(picture, (x - half, y - tall), (x + half, y), colour)
    for side in (-1, 1):
        cv2.circle(picture, (int(x + side * half * 0.75), int(y - tall * 0.6)), 5, (215, 225, 225), -1, cv2.LINE_AA)
    _rectangle(picture, (x - half // 3, y - tall // 2), (x + half // 3, y - tall // 4), colour * 0.45)


def _thing(picture: Image, top: int, rng: np.random.Generator, indoors: bool) -> None:
    h, w = picture.shape[:2]
    x, y = int(rng.uniform(0.03, 0.97) * w), int(rng.uniform(top + 0.05 * (h - top), top + 0.4 * (h - top)))
    size = (y - 0.28 * h) * rng.uniform(0.28, 0.5)
    colour = _tone(rng, 40, 200, 80)
    kind = int(rng.choice([0, 2, 4] if indoors else [0, 1, 2, 3, 4]))
    s = int(size)
    if kind == 0:
        _rectangle(picture, (x - s // 3, y - s), (x + s // 3, y), colour, colour * 0.6)
        _rectangle(picture, (x - s // 3 - 2, y - s), (x + s // 3 + 2, y - s + s // 6), colour * 0.7)
    elif kind == 1:
        cone = np.array([(x - s // 3, y), (x + s // 3, y), (x, y - s)])
        cv2.fillPoly(picture, [cone], (20, rng.uniform(70, 120), rng.uniform(200, 250)), cv2.LINE_AA)
        cv2.line(picture, (x - s // 6, y - s // 2), (x + s // 6, y - s // 2), (235, 235, 235), max(2, s // 8))
    elif kind == 2:
        _rectangle(picture, (x - s, y - s // 2), (x + s, y - s // 3), colour, colour * 0.6)
        for leg in (-s + 3, s - 5):
            _rectangle(picture, (x + leg, y - s // 3), (x + leg + 3, y), colour * 0.4)
    elif kind == 3:
        cv2.line(picture, (x, y), (x, y - 4 * s), (60, 62, 62), max(3, s // 8))
        cv2.circle(picture, (x, y - 4 * s), max(4, s // 4), (190, 235, 245), -1, cv2.LINE_AA)
    else:
        _rectangle(picture, (x - s // 3, y - s // 2), (x + s // 3, y), np.array((50, 70, 110)))
        for _ in range(9):
            leaf = (x + int(rng.normal(0, s / 3)), y - s // 2 - int(rng.uniform(0, s)))
            cv2.circle(picture, leaf, max(3, s // 4), (40, rng.uniform(80, 140), rng.uniform(30, 70)), -1, cv2.LINE_AA)


def _bricks(wall: Image, rng: np.random.Generator, colour: NDArray[np.float64]) -> None:
    h, w = wall.shape[:2]
    course = int(rng.integers(9, 15))
    joint = (colour * rng.choice([0.82, 1.15])).tolist()
    for row, y in enumerate(range(0, h, course)):
        cv2.line(wall, (0, y), (w, y), joint, 1)
        for x in range((row % 2) * course, w, course * 2):
            cv2.line(wall, (x, y), (x, min(h, y + course)), joint, 1)


def _grain(area: Image, rng: np.random.Generator, strength: float) -> None:
    h, w = area.shape[:2]
    area += (strength * rng.standard_normal((h, w)).astype(np.float32))[..., None]
    area *= (0.9 + 0.2 * _noise(rng, h, w, 6))[..., None]


def _noise(rng: np.random.Generator, h: int, w: int, cells: int) -> Image:
    coarse = rng.random((max(2, cells * h // w), cells), dtype=np.float32)
    return cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def _tone(rng: np.random.Generator, low: float, high: float, colourful: float) -> NDArray[np.float64]:
    grey: NDArray[np.float64] = rng.uniform(low, high) + rng.uniform(-colourful, colourful, 3)
    return grey


def _rectangle(
    picture: Image,
    a: tuple[int, int],
    b: tuple[int, int],
    colour: NDArray[np.float64],
    edge: NDArray[np.float64] | None = None,
) -> None:
    cv2.rectangle(picture, a, b, colour.tolist(), -1)
    if edge is not None:
        cv2.rectangle(picture, a, b, edge.tolist(), 2)
