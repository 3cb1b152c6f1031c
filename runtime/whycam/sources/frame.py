"""The value that every source yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture and when it was taken."""

    image: NDArray[np.uint8]
    """[H, W, 3], BGR."""
    time: float
    """Seconds: from the start of a file, since the epoch for a live source."""
