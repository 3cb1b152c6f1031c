"""The value that every source yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whycam.errors import InputError


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture and when it was taken."""

    image: NDArray[np.uint8]
    """[H, W, 3], BGR."""
    time: float
    """Seconds: from the start of a file, since the epoch for a live source."""


def check_image(image: NDArray[np.uint8]) -> None:
    """Raise InputError where `image` is not a uint8 array [H, W, 3]."""
    if not isinstance(image, np.ndarray):
        got = type(image).__name__
    elif image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        got = f"{image.dtype} {list(image.shape)}"
    else:
        return
    raise InputError(f"a frame must be a uint8 array [height, width, 3] of BGR pixels, not {got}")
