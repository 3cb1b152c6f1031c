"""What moves in a scene besides people: fire and smoke, muzzle flashes, and harmless things that resemble them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from whycam_export.demo.figure import FRACTION_BITS, OVERSAMPLING, Colour, fixed
from whycam_export.demo.pose import Point

Canvas = NDArray[np.uint8]

# BGR of flames from their cool edge to their core.
_FLAME = np.array([(0, 0, 40), (8, 40, 190), (20, 120, 250), (90, 210, 255), (220, 250, 255)], np.float32)


@dataclass(frozen=True)
class Fire:
    """Flames that stand at (x, y) from `begin` seconds on, `size` pixels tall when grown, with smoke and a glow.

    `noise` is f32 [n,n] of 0 to 1 that wraps around: the flames are its rows, rising.
    """

    x: float
    y: float
    size: float
    begin: float
    smoke: float
    noise: NDArray[np.float32]

    def draw(self, canvas: Canvas, mask: Canvas, time: float) -> None:
        """Draw the fire at `time` and mark its flames in `mask`."""
        age = time - self.begin
        if age < 0:
            return
        grown = self.size * OVERSAMPLING * (0.55 + 0.45 * min(1.0, age / 2.5))
        self._glow(canvas, grown, time)
        self._plume(canvas, grown, age)
        w, h = int(grown * 0.95), int(grown * 1.35)
        rows, columns = np.mgrid[0:h, 0:w]
        up = (h - 1 - rows) / h
        across = (columns - w / 2) / (w / 2)
        lick = self._sample(columns / w * 55 + 90, rows / h * 26 + age * 120) - 0.5
        across = across + (0.16 * np.sin(7 * up - 9 * time) + 0.9 * lick) * up
        tall = 0.55 + 0.9 * self._sample(columns / w * 75, np.full_like(columns, age * 26.0))
        up = up / tall
        sway = self._sample(columns / w * 40, rows / w * 34 + age * 95)
        fine = self._sample(columns / w * 85 + 31, rows / w * 60 + age * 150)
        body = 1.3 - np.abs(across) ** 2 * (1.15 + 0.7 * up) - 0.95 * up
        heat = np.clip(body * (0.3 + 0.75 * sway + 0.5 * fine) - 0.2, 0, 1)
        alpha = np.clip(heat * 3.2, 0, 1).astype(np.float32)
        level = np.clip(heat * 1.15, 0, 1) * (len(_FLAME) - 1)
        low = np.minimum(level.astype(int), len(_FLAME) - 2)
        part = (level - low)[..., None]
        colour = _FLAME[low] * (1 - part) + _FLAME[low + 1] * part
        left, top = int(self.x * OVERSAMPLING - w / 2), int(self.y * OVERSAMPLING - h * 0.96)
        _lay(canvas, colour, alpha, left, top)
        _mark(mask, alpha > 0.35, left, top)

    def _glow(self, canvas: Canvas, grown: float, time: float) -> None:
        strength = 0.42 + 0.1 * math.sin(17 * time) + 0.08 * math.sin(29 * time + 1)
        centre = np.array([self.x * OVERSAMPLING, self.y * OVERSAMPLING - 0.3 * grown])
        reach = 1.5 * grown
        low = np.maximum((centre - reach).astype(int), 0)
        high = np.minimum((centre + reach).astype(int), canvas.shape[1::-1])
        if (high <= low).any():
            return
        ys, xs = np.mgrid[low[1] : high[1], low[0] : high[0]]
        near = np.clip(1 - np.hypot(xs - centre[0], ys - centre[1]) / reach, 0, 1) ** 2
        light = near[..., None] * strength * np.array([10, 70, 150], np.float32)
        patch = canvas[low[1] : high[1], low[0] : high[0]]
        patch[:] = np.minimum(patch + light, 255).astype(np.uint8)

    def _plume(self, canvas: Canvas, grown: float, age: float) -> None:
        w, h = int(grown * 1.9), int(grown * min(2.6, 0.9 + age * 0.7))
        rows, columns = np.mgrid[0:h:2, 0:w:2]
        up = (h - 1 - rows) / max(1, h)
        across = np.abs((columns - w / 2) / (w / 2) - 0.35 * up * math.sin(0.9 * age))
        puff = self._sample(columns / w * 38, rows / w * 34 + age * 40)
        body = np.clip(1.0 - across / (0.22 + 0.75 * up), 0, 1) * np.clip(up * 4, 0, 1) * np.clip((1 - up) * 3, 0, 1)
        alpha = np.clip(3.5 * body * (puff * 1.7 - 0.25), 0, 1).astype(np.float32) * self.smoke
        alpha = cv2.resize(alpha, (w, h), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        shade = cv2.resize((45 + 80 * puff).astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR)
        colour = np.repeat(shade[..., None], 3, axis=2).astype(np.float32)
        _lay(canvas, colour, alpha, int(self.x * OVERSAMPLING - w / 2), int(self.y * OVERSAMPLING - 0.5 * grown - h))

    def _sample(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float32]:
        size = self.noise.shape[0]
        column, row = np.mod(x, size).astype(np.float32), np.mod(y, size).astype(np.float32)
        return cv2.remap(self.noise, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP).astype(np.float32)


def tileable_noise(rng: np.random.Generator, size: int = 256) -> NDArray[np.float32]:
    """Smooth noise f32 [size,size] of 0 to 1 that wraps around at its edges."""
    total = np.zeros((size, size), np.float32)
    for sigma, weight in ((9.0, 1.0), (4.0, 0.5)):
        white = np.tile(rng.standard_normal((size, size)).astype(np.float32), (2, 2))
        smooth = cv2.GaussianBlur(white, (0, 0), sigma)[size // 2 : size // 2 + size, size // 2 : size // 2 + size]
        total += weight * smooth / smooth.std()
    return np.asarray(np.clip(0.5 + 0.27 * total, 0, 1), np.float32)


def draw_flash(canvas: Canvas, mask: Canvas, at: Point, height: float, facing: int, turn: float) -> None:
    """A muzzle flash at the gun's mouth `at`, for a shooter `height` pixels tall; `turn` varies its rays."""
    centre = np.array([at[0] + 0.05 * height * facing, at[1]])
    _add_light(canvas, centre, 0.34 * height, np.array([60, 130, 190], np.float32))
    for colour, reach in (((60, 190, 255), 0.12), ((225, 250, 255), 0.07)):
        rays = []
        for k in range(12):
            angle = turn + k * math.pi / 6
            length = height * reach * (1.25 if k % 2 else 0.55)
            rays.append(fixed(centre + length * np.array([math.cos(angle), math.sin(angle)])))
        star = np.array(rays, np.int32)
        cv2.fillPoly(canvas, [star], colour, cv2.LINE_AA, FRACTION_BITS)
        cv2.fillPoly(mask, [star], 255, cv2.LINE_8, FRACTION_BITS)


@dataclass(frozen=True)
class Car:
    """A car that passes along the picture, seen from its side; `y` is where its wheels stand."""

    x: float
    y: float
    speed: float
    length: float
    colour: Colour
    lit: bool

    def draw(self, canvas: Canvas, mask: Canvas, time: float) -> None:
        """Draw the car at `time`; what it hides leaves the mask."""
        x, y, s = self.x + self.speed * time, self.y, self.length
        ahead = 1 if self.speed > 0 else -1

        def polygon(points: list[tuple[float, float]], colour: Colour) -> None:
            shape = np.array([fixed(np.array([x + ahead * s * u, y - s * v])) for u, v in points], np.int32)
            cv2.fillPoly(canvas, [shape], colour, cv2.LINE_AA, FRACTION_BITS)
            cv2.fillPoly(mask, [shape], 0, cv2.LINE_8, FRACTION_BITS)

        dark = (self.colour[0] * 0.7, self.colour[1] * 0.7, self.colour[2] * 0.7)
        polygon([(-0.5, 0.06), (0.5, 0.06), (0.5, 0.17), (0.27, 0.2), (-0.5, 0.21)], self.colour)
        polygon([(-0.42, 0.2), (-0.28, 0.36), (0.1, 0.36), (0.27, 0.2)], dark)
        polygon([(-0.35, 0.21), (-0.25, 0.33), (-0.1, 0.33), (-0.1, 0.21)], (70, 62, 55))
        polygon([(-0.06, 0.21), (-0.06, 0.33), (0.08, 0.33), (0.2, 0.21)], (70, 62, 55))
        for wheel in (-0.3, 0.3):
            centre = fixed(np.array([x + ahead * s * wheel, y - 0.06 * s]))
            cv2.circle(canvas, centre, int(0.075 * s * OVERSAMPLING * 8), (25, 25, 25), -1, cv2.LINE_AA, FRACTION_BITS)
            cv2.circle(
                canvas, centre, int(0.035 * s * OVERSAMPLING * 8), (140, 140, 140), -1, cv2.LINE_AA, FRACTION_BITS
            )
        if self.lit:
            _add_light(
                canvas, np.array([x + ahead * 0.5 * s, y - 0.15 * s]), 0.2 * s, np.array([150, 190, 200], np.float32)
            )
            _add_light(
                canvas, np.array([x - ahead * 0.5 * s, y - 0.15 * s]), 0.1 * s, np.array([10, 20, 170], np.float32)
            )


@dataclass(frozen=True)
class Flag:
    """A flag or an awning in the wind, often red, orange or yellow."""

    x: float
    y: float
    size: float
    colours: tuple[Colour, Colour]
    rate: float
    phase: float

    def draw(self, canvas: Canvas, mask: Canvas, time: float) -> None:
        """Draw the flag at `time`."""
        top = self.y - 2.6 * self.size
        cv2.line(
            canvas,
            fixed(np.array([self.x, self.y])),
            fixed(np.array([self.x, top])),
            (90, 92, 95),
            3,
            cv2.LINE_AA,
            FRACTION_BITS,
        )
        along = np.linspace(0, 1, 9)
        wave = 0.14 * along * np.sin(self.rate * time + self.phase - 6 * along)
        for part, colour in enumerate(self.colours):
            upper = [(u, w + 0.3 * part) for u, w in zip(along, wave, strict=True)]
            lower = [(u, v + 0.3) for u, v in reversed(upper)]
            shape = [fixed(np.array([self.x + u * self.size, top + v * self.size])) for u, v in upper + lower]
            cv2.fillPoly(canvas, [np.array(shape, np.int32)], colour, cv2.LINE_AA, FRACTION_BITS)


@dataclass(frozen=True)
class Screen:
    """An advertising screen whose picture changes and glows, warm colours among them."""

    x: float
    y: float
    size: float
    colours: tuple[Colour, ...]
    rate: float

    def draw(self, canvas: Canvas, mask: Canvas, time: float) -> None:
        """Draw the screen at `time`."""
        colour = self.colours[int(time * self.rate) % len(self.colours)]
        low = (int((self.x - self.size / 2) * OVERSAMPLING), int((self.y - self.size * 0.7) * OVERSAMPLING))
        high = (int((self.x + self.size / 2) * OVERSAMPLING), int(self.y * OVERSAMPLING))
        cv2.rectangle(canvas, low, high, colour, -1)
        middle = ((low[0] + high[0]) // 2, (low[1] + high[1]) // 2)
        bright = tuple(min(255.0, c * 1.4 + 20) for c in colour)
        cv2.circle(canvas, middle, int(self.size * 0.4 * (0.6 + 0.4 * math.sin(3 * time))), bright, -1, cv2.LINE_AA)
        cv2.rectangle(canvas, low, high, (30, 30, 32), 3)


def _add_light(canvas: Canvas, centre: Point, reach: float, colour: NDArray[np.float32]) -> None:
    middle, radius = np.asarray(centre) * OVERSAMPLING, reach * OVERSAMPLING
    low = np.maximum((middle - radius).astype(int), 0)
    high = np.minimum((middle + radius).astype(int), canvas.shape[1::-1])
    if (high <= low).any():
        return
    ys, xs = np.mgrid[low[1] : high[1], low[0] : high[0]]
    near = np.clip(1 - np.hypot(xs - middle[0], ys - middle[1]) / radius, 0, 1) ** 1.5
    patch = canvas[low[1] : high[1], low[0] : high[0]]
    patch[:] = np.minimum(patch + near[..., None] * colour, 255).astype(np.uint8)


def _lay(canvas: Canvas, colour: NDArray[np.float32], alpha: NDArray[np.float32], left: int, top: int) -> None:
    """Blend a patch whose upper left corner is at (left, top) onto the canvas, clipped to it."""
    area, inside = _clip(canvas, alpha, left, top)
    if area is None or inside is None:
        return
    patch, weight = canvas[area], alpha[inside][..., None]
    patch[:] = np.clip(patch * (1 - weight) + colour[inside] * weight, 0, 255).astype(np.uint8)


def _mark(mask: Canvas, shape: NDArray[np.bool_], left: int, top: int) -> None:
    area, inside = _clip(mask, shape, left, top)
    if area is not None and inside is not None:
        mask[area][shape[inside]] = 255


def _clip(
    canvas: Canvas, patch: NDArray[np.float32] | NDArray[np.bool_], left: int, top: int
) -> tuple[tuple[slice, slice] | None, tuple[slice, slice] | None]:
    h, w = patch.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + w, canvas.shape[1]), min(top + h, canvas.shape[0])
    if x1 <= x0 or y1 <= y0:
        return None, None
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
