"""Camera frames to the model's input in one pass over them, in the device's memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whycam.cuda import kernels
from whycam.cuda.array import DeviceArray, Pool


class FrameLoader:
    """Brings frames to the model's size, on a stream beside the model's. Safe for several threads."""

    def __init__(self, pool: Pool, height: int, width: int) -> None:
        """`pool` is of a device that nothing else uses: its stream runs beside the one that the model runs on."""
        self._pool = pool
        self._size = height, width

    def load(self, pixels: NDArray[np.uint8]) -> DeviceArray:
        """A frame's pixels, BGR or NV12 (see `Frame`), of any size, as uint8 BGR [height, width, 3] at the model's.

        As `detect.resize` does. When this returns, they lie there whole. Raises DeviceMemoryError.
        """
        made = self._pool.empty((*self._size, 3), np.uint8)
        staging = self._pool.device.staging(pixels.nbytes)
        np.copyto(staging.host.reshape(pixels.shape), pixels)
        staging.send()
        there = DeviceArray(self._pool, staging, staging.address, pixels.shape, pixels.dtype)
        if pixels.ndim == 3:
            kernels.frame_from_bgr(there, (0, 0, pixels.shape[1], pixels.shape[0]), made)
        else:
            rows = pixels.shape[0] * 2 // 3
            luma, chroma = there.part(0, rows), there.part(rows, rows // 2)
            kernels.frame_from_nv12(luma, chroma, (0, 0, pixels.shape[1], rows), made)
        self._pool.device.finish()
        return made
