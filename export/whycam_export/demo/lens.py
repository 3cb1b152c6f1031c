"""The camera: light, colour cast, sharpness, noise, the clock in the picture, compression."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from whycam_export.demo.figure import OVERSAMPLING


@dataclass(frozen=True)
class Lens:
    """How a camera renders a scene; all factors are 1 and all strengths 0 for a perfect one."""

    gain: float
    cast: tuple[float, float, float]
    contrast: float
    saturation: float
    blur: float
    noise: float
    vignette: float
    drift: float
    flicker: float
    caption: str
    seed: int

    def expose(self, canvas: NDArray[np.uint8], time: float) -> NDArray[np.uint8]:
        """The frame uint8 [h,w,3], with the clock in it, that the camera makes of the oversampled canvas at `time`."""
        h, w = canvas.shape[0] // OVERSAMPLING, canvas.shape[1] // OVERSAMPLING
        caption = f"{self.caption}:{int(time) % 60:02d}"
        cv2.rectangle(canvas, (0, 0), (13 * len(caption), 28), (0, 0, 0), -1)
        cv2.putText(canvas, caption, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (225, 225, 225), 2, cv2.LINE_AA)
        picture = cv2.resize(canvas, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)
        if self.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), self.blur).astype(np.float32)
        grey = picture.mean(axis=2, keepdims=True)
        picture = grey + (picture - grey) * self.saturation
        light = self.gain * (1 + self.drift * math.sin(0.9 * time + self.seed))
        rng = np.random.default_rng((self.seed, round(time * 1000)))
        if self.flicker and rng.random() < 0.3:
            light *= 1 - self.flicker
        picture = (picture - 110) * self.contrast + 110
        picture *= light * np.array(self.cast, np.float32)
        ys, xs = np.ogrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
        picture *= (1 - self.vignette * (xs * xs + ys * ys) / 2)[..., None].astype(np.float32)
        noise = rng.standard_normal((h, w, 1), dtype=np.float32) * 0.8
        noise = noise + rng.standard_normal((h, w, 3), dtype=np.float32) * 0.5
        frame: NDArray[np.uint8] = np.clip(picture + self.noise * noise, 0, 255).astype(np.uint8)
        return frame


def random_lens(rng: np.random.Generator, indoors: bool) -> Lens:
    """A camera of middling quality; indoors the light may flicker."""
    warm = rng.normal(0, 0.05)
    return Lens(
        gain=float(rng.uniform(0.6, 1.15)),
        cast=(float(1 + warm), 1.0, float(1 - warm)),
        contrast=float(rng.uniform(0.8, 1.1)),
        saturation=float(rng.uniform(0.65, 1.1)),
        blur=float(rng.choice([0.0, 0.5, 0.8])),
        noise=float(rng.uniform(1.5, 7.0)),
        vignette=float(rng.uniform(0.0, 0.35)),
        drift=float(rng.uniform(0.0, 0.06)),
        flicker=float(rng.uniform(0.1, 0.25)) if indoors and rng.random() < 0.2 else 0.0,
        caption=f"CAM {int(rng.integers(1, 17)):02d}  {int(rng.integers(0, 24)):02d}:{int(rng.integers(0, 60)):02d}",
        seed=int(rng.integers(1 << 31)),
    )


def compress(frame: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """`frame` with the traces of lossy compression at a JPEG quality of 1 to 100."""
    _, code = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
