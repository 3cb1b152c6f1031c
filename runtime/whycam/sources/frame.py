"""The value that every source yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam.errors import InputError


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture and when it was taken."""

    pixels: NDArray[np.uint8]
    """As the source gives them: BGR, [H, W, 3], or NV12, [H * 3/2, W], the luma's rows and then the colours'."""
    time: float
    """Seconds: from the start of a file, since the epoch for a live source."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """[H, W, 3], BGR; NV12 is converted when this is first asked for."""
        # Not by cached_property: before Python 3.12 the frames of all cameras would wait for one lock.
        made: NDArray[np.uint8] | None = self.__dict__.get("_image")
        if made is None:
            made = self.__dict__["_image"] = bgr(self.pixels)
        return made

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        rows, width = self.pixels.shape[:2]
        return (rows if self.pixels.ndim == 3 else rows * 2 // 3), width


def bgr(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The BGR picture, uint8 [H, W, 3], of a frame's pixels: see `Frame`.

    NV12 with BT.601's matrix, as OpenCV 4, which is JetPack's, converts what FFmpeg decodes: either way it looks the
    same.
    """
    if pixels.ndim == 3:
        return pixels
    import cv2

    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_YUV2BGR_NV12), np.uint8)


def check_image(image: NDArray[np.uint8]) -> None:
    """Raise InputError where `image` is not a uint8 array [H, W, 3]."""
    if not isinstance(image, np.ndarray):
        got = type(image).__name__
    elif image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        got = f"{image.dtype} {list(image.shape)}"
    else:
        return
    raise InputError(f"a frame must be a uint8 array [height, width, 3] of BGR pixels, not {got}")
