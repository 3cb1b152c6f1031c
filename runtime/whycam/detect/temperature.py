"""Temperature scaling: scores that are as sure as they are right (Guo et al. 2017, section 4.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def tempered(logits: NDArray[np.float32], scores: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Scores f32 [..., K]: the softmax of `logits` divided by `temperature`; at 1 the graph's own, bit for bit."""
    if temperature == 1:
        return scores
    scaled = logits / np.float32(temperature)
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    tempered: NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return tempered
